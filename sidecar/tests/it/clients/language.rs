//! How the programs of each client are built and started: the one for the scenarios, and the example.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use freshet_e2e::{
    artefact::{Inputs, artefact},
    cargo::build_example_for_tests,
    cluster::checkout,
    command::{program, show},
    process::Child,
    wheel::{Node, libraries},
};

/// What puts a project's libraries into one folder.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    PythonAsync,
    Node,
    Go,
    Java,
    Rust,
}

/// A program that is ready to be started.
#[derive(Debug, Default)]
pub(super) struct Build {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Build {
    fn of(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    fn argument(mut self, argument: impl Into<PathBuf>) -> Self {
        self.arguments.push(argument.into().to_string_lossy().into_owned());
        self
    }

    fn env(mut self, name: &'static str, value: impl Into<PathBuf>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// A command that speaks with us.
    pub(super) fn command(&self) -> Command {
        self.complete(program(&self.program))
    }

    /// A command of a server.
    pub(super) fn server(&self) -> Command {
        self.complete(Child::command(&self.program))
    }

    /// Its environment has nothing of ours that a client looks at.
    fn complete(&self, mut command: Command) -> Command {
        command.env_remove("FRESHET_SOCKET").env_remove("FRESHET_URL");
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Language {
    /// The program that does what scenarios ask for.
    pub(super) fn conformance(self) -> Result<Build> {
        Ok(match self {
            Self::Python => python("conformance.py")?,
            Self::PythonAsync => python("conformance.py")?.argument("async"),
            Self::Node => node("conformance.ts")?,
            Self::Go => Build::of(go()?.join("conformance")),
            Self::Java => {
                java("client", &["classes", "test-classes", "lib/*"], "dev.freshet.client.Conformance")?
            }
            Self::Rust => Build::of(build_example_for_tests("conformance")?),
        })
    }

    /// The web handler over Postgres.
    pub(super) fn example(self) -> Result<Build> {
        Ok(match self {
            Self::Python | Self::PythonAsync => {
                let requirements = clients().join("python/example/requirements.txt");
                let libraries = libraries("client-python-example", &requirements)?;
                let path = std::env::join_paths([clients().join("python/src"), libraries])?;
                python_with("example/products.py", path)
            }
            Self::Node => node("example/products.ts")?,
            Self::Go => Build::of(go()?.join("example")),
            Self::Java => java("example", &["classes", "lib/*"], "dev.freshet.example.Products")?,
            Self::Rust => Build::of(build_example_for_tests("products")?),
        })
    }
}

fn clients() -> PathBuf {
    checkout().join("clients")
}

fn python(file: &str) -> Result<Build> {
    let folder = clients().join("python");
    let libraries = libraries("client-python", &folder.join("requirements.txt"))?;
    Ok(python_with(file, std::env::join_paths([folder.join("src"), libraries])?))
}

/// With what is in these folders.
fn python_with(file: &str, path: impl Into<PathBuf>) -> Build {
    let python = Build::of("python3").argument("-Werror").argument(clients().join("python").join(file));
    python.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1")
}

fn go() -> Result<PathBuf> {
    let module = clients().join("go");
    artefact("client-go", &Inputs::new().path(&module)?, |folder| {
        for (place, package) in [(module.clone(), "./internal/conformance"), (module.join("example"), ".")] {
            let mut go = program("go");
            go.args(["build", "-race", "-o"]).arg(folder).arg(package);
            show(go.current_dir(place))?;
        }
        Ok(())
    })
}

fn java(module: &str, places: &[&str], class: &str) -> Result<Build> {
    let source = clients().join("java");
    let files = ["pom.xml", "client/pom.xml", "client/src", "example/pom.xml", "example/src"];
    let inputs = Inputs::new().text(COPY);
    let inputs = files.iter().try_fold(inputs, |inputs, file| inputs.path(source.join(file)))?;
    let folder = artefact("client-java", &inputs, |folder| {
        copy(&source, &files, folder)?;
        let mut maven = program("mvn");
        maven.args(["--batch-mode", "--quiet", "--no-transfer-progress", "-Dstyle.color=never"]);
        maven.args(["-DskipTests", "package", COPY, "-DoutputDirectory=target/lib"]);
        show(maven.current_dir(folder))
    })?;
    let target = folder.join(module).join("target");
    let path = std::env::join_paths(places.iter().map(|place| target.join(place)))?;
    Ok(Build::of("java").argument("-cp").argument(path).argument(class))
}

fn node(file: &str) -> Result<Build> {
    let (source, node) = (clients().join("node"), Node::find()?);
    let files = [
        "src",
        "conformance.ts",
        "package.json",
        "package-lock.json",
        "tsconfig.json",
        "tsconfig.conformance.json",
        "example/package.json",
        "example/package-lock.json",
        "example/products.ts",
        "example/tsconfig.json",
    ];
    let inputs = node.among(Inputs::new());
    let inputs = files.iter().try_fold(inputs, |inputs, file| inputs.path(source.join(file)))?;
    let folder = artefact("client-node", &inputs, |folder| {
        copy(&source, &files, folder)?;
        // Installing builds it, too.
        show(node.npm()?.arg("ci").current_dir(folder))?;
        show(node.npm()?.args(["run", "check"]).current_dir(folder))?;
        show(node.npm()?.args(["ci", "--ignore-scripts"]).current_dir(folder.join("example")))?;
        show(node.npm()?.args(["exec", "--", "tsc", "--project", "example"]).current_dir(folder))
    })?;
    // What strips the types warns of itself.
    Ok(Build::of(node.program())
        .argument("--disable-warning=ExperimentalWarning")
        .argument(folder.join(file)))
}

/// Copies what something is built from, so that nothing is built in the checkout.
fn copy(source: &Path, files: &[&str], into: &Path) -> Result<()> {
    let mut copy = program("cp");
    copy.args(["--recursive", "--parents"]).args(files).arg(into);
    show(copy.current_dir(source))
}
