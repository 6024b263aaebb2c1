# A static program on nothing: docker build -t sentinel-peer --build-arg VERSION=$(git describe --tags) .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /out/sentinel-peer ./cmd/sentinel-peer \
    && go run ./internal/notices > /out/THIRD_PARTY_NOTICES \
    && mkdir -p /out/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/sentinel-peer /sentinel-peer
COPY --from=build /src/LICENSE /out/THIRD_PARTY_NOTICES /
COPY --from=build --chown=65532:65532 /out/state /var/lib/sentinel-peer
USER 65532:65532
# Below it lies what must outlive this container: keep it in a volume.
ENV STATE_DIRECTORY=/var/lib/sentinel-peer
VOLUME /var/lib/sentinel-peer
EXPOSE 7946/tcp 7946/udp 7700/tcp
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/sentinel-peer", "status", "--self", "--timeout", "2s"]
ENTRYPOINT ["/sentinel-peer"]
CMD ["agent"]
