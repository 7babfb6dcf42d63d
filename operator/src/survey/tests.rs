use tokio::net::TcpListener;

use super::*;

/// A sidecar's report of one source in this state.
pub(super) fn says(state: &str) -> Report {
    let source = SourceReport { state: state.to_owned().into(), lag_ms: 0 };
    Report { sources: [("cdc".to_owned(), source)].into(), ..Report::default() }
}

fn sidecars(count: u16) -> BTreeMap<String, SocketAddr> {
    (0..count).map(|n| (format!("web-{n:04}"), SocketAddr::from(([10, 0, 0, 1], n)))).collect()
}

fn found(survey: &Survey) -> Findings {
    survey.findings("uid", &Tables::new(), |lag| lag)
}

#[test]
fn whoever_waits_longest_is_asked_first_and_all_in_turn() {
    let survey = Survey::default();
    survey.know("uid", "shop", sidecars(100));
    let mut now = Instant::now();
    let mut asked = HashMap::<String, u32>::new();
    for _ in 0..200 {
        let due = survey.due(now, 10);
        assert!(due.len() <= 10);
        for question in due {
            *asked.entry(question.pod.clone()).or_default() += 1;
            survey.hear(&question, Ok(says("Fresh")), now);
        }
        now += Duration::from_secs(1);
    }
    // 2000 questions would be more than are due: about one in ten seconds each.
    let (least, most) = (asked.values().min().unwrap(), asked.values().max().unwrap());
    assert!(asked.len() == 100 && *least >= 16 && *most <= 24, "{least} to {most}");
}

#[test]
fn more_than_can_be_asked_in_time_are_asked_less_often_but_none_is_left_out() {
    let survey = Survey::default();
    survey.know("uid", "shop", sidecars(1000));
    let mut now = Instant::now();
    let mut asked = HashMap::<String, u32>::new();
    for _ in 0..100 {
        for question in survey.due(now, 40) {
            *asked.entry(question.pod.clone()).or_default() += 1;
            survey.hear(&question, Err(NoAnswer::NoConnection), now);
        }
        now += Duration::from_secs(1);
    }
    let (least, most) = (asked.values().min().unwrap(), asked.values().max().unwrap());
    assert!(asked.len() == 1000 && *least >= 3 && *most <= 6, "{least} to {most}");
}

#[test]
fn pods_come_and_go_and_an_answer_of_another_counts_for_nothing() {
    let survey = Survey::default();
    survey.know("uid", "shop", sidecars(2));
    let now = Instant::now();
    let questions = survey.due(now, 10);
    assert_eq!((questions.len(), found(&survey).waiting), (2, 2));
    assert!(survey.due(now, 10).is_empty(), "they are being asked");
    // The first is made anew under its name, the second goes.
    let mut other = sidecars(1);
    other.insert("web-0000".into(), "10.0.0.9:3738".parse().unwrap());
    survey.know("uid", "shop", other);
    for question in &questions {
        assert!(!survey.hear(question, Ok(says("Fresh")), now), "{}", question.pod);
    }
    assert_eq!((found(&survey).started, found(&survey).waiting), (1, 1));
    let anew = survey.due(Instant::now(), 10);
    assert_eq!(anew[0].address.to_string(), "10.0.0.9:3738");
    assert!(survey.hear(&anew[0], Ok(says("Fresh")), now));
    survey.know("uid", "shop", [("web-0000".to_owned(), anew[0].address)].into());
    assert_eq!(found(&survey).answered, 1, "what it said is kept");
    survey.keep_only(&HashSet::new());
    assert_eq!(found(&survey), Findings::default());
}

/// Nobody who doesn't answer keeps the others from being asked, and whoever says something new is told.
#[tokio::test]
async fn a_sidecar_that_hangs_holds_up_nobody() {
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sidecars = [("a".to_owned(), hangs.local_addr().unwrap()), ("b".to_owned(), gone)];
    let survey = Survey::default();
    survey.know("uid", "shop", sidecars.into());
    let metrics = Metrics::new("1.2.3");
    let (touch, mut touched) = mpsc::channel(8);
    let told = async {
        assert_eq!(touched.recv().await.as_deref(), Some("shop"));
        let first = found(&survey);
        assert_eq!((first.silent(), first.waiting), (1, 1), "the other is still waited for");
        assert_eq!(touched.recv().await.as_deref(), Some("shop"));
        found(&survey)
    };
    let silent = tokio::select! {
        silent = told => silent.silent,
        () = keep(&survey, &touch, &metrics) => unreachable!("it goes on"),
    };
    let silent: Vec<_> = silent.into_iter().map(|(why, few)| (why, few.to_string())).collect();
    let wanted = [(NoAnswer::NoConnection, "b".to_owned()), (NoAnswer::Timeout, "a".to_owned())];
    assert_eq!(silent, wanted);
}
