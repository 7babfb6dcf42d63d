# Freshet's images, for those who build their own: docker build --target operator|sidecar -t … .
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN cargo build --locked --release --target "$(rustc -vV | sed -n 's/^host: //p')" -p freshet-operator -p freshet-sidecar \
 && mkdir /out && cp target/*/release/freshet-operator target/*/release/freshet-sidecar /out/

FROM scratch AS sidecar
COPY --from=build /out/freshet-sidecar /freshet-sidecar
USER 65532:65532
ENTRYPOINT ["/freshet-sidecar"]

FROM scratch AS operator
COPY --from=build /out/freshet-operator /freshet-operator
USER 65532:65532
ENTRYPOINT ["/freshet-operator"]
