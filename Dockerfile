# The image of a node. `docker build .` works by itself; `./dev image` hands over what is in the cache already.
# Nothing here names an architecture: Debian and the JVM know theirs.
ARG BASE=debian:bookworm-slim

# --- what every stage trusts and has
FROM ${BASE} AS base
COPY deploy/image/inputs/certs/ /usr/local/share/ca-certificates/
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && update-ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

# --- the program
FROM base AS program
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev cmake ninja-build pkg-config liblua5.4-dev lua5.4 libxml2-dev \
    libcurl4-openssl-dev libssl-dev libcjson-dev libzookeeper-mt-dev
COPY CMakeLists.txt /src/
COPY cmake /src/cmake
COPY src /src/src
COPY include /src/include
COPY lua /src/lua
COPY profiles /src/profiles
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr \
 && DESTDIR=/out ninja -C /build install/strip

# --- Spark: handed over, or fetched with its checksum checked (dev.d/versions)
FROM base AS spark
ARG SPARK_VERSION=
COPY deploy/image/inputs/spark /inputs
COPY dev /src/
COPY dev.d /src/dev.d
RUN if [ -d /inputs/jars ]; then \
      mkdir /opt/spark && cp -r /inputs/. /opt/spark && rm -f /opt/spark/README; \
    else \
      export CI=true PIP_CERT=/etc/ssl/certs/ca-certificates.crt XDG_CACHE_HOME=/cache \
      && mv "$(/src/dev spark ${SPARK_VERSION:+"$SPARK_VERSION"})" /opt/spark; \
    fi

# --- the node
FROM base
ARG JAVA_VERSION=17
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="spark-appliance" \
      org.opencontainers.image.description="A node of a Spark standalone cluster, supervised by one small PID 1" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# libnss-wrapper: a passwd entry for any user id; python3: PySpark, in drivers and executors.
RUN apt-get update \
 && apt-get install -y --no-install-recommends "openjdk-${JAVA_VERSION}-jre-headless" liblua5.4-0 libxml2 libssl3 libcjson1 libzookeeper-mt2 libnss-wrapper python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
 && useradd --system --uid 185 --gid 0 --home-dir /var/lib/spark-appliance --shell /usr/sbin/nologin spark \
 && install -d -m 1777 /var/lib/spark-appliance
COPY --from=spark /opt/spark /opt/spark
COPY --from=program /out/ /
COPY deploy/image/client /usr/lib/spark-appliance/client
RUN for name in spark-submit spark-shell pyspark spark-sql beeline run-example; do \
      ln -s /usr/lib/spark-appliance/client "/usr/local/bin/$name"; \
    done
# The class data archive: every JVM of Spark starts from it in half the time. It is good for exactly this Java and these jars.
RUN SPARK_HOME=/opt/spark STATE_DIR=/tmp/archive spark-appliance archive && rm -rf /tmp/archive /tmp/hsperfdata_*
ENV SPARK_HOME=/opt/spark \
    STATE_DIR=/var/lib/spark-appliance \
    PYSPARK_PYTHON=python3 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/spark/bin
USER 185
WORKDIR /var/lib/spark-appliance
VOLUME /var/lib/spark-appliance
# master, its page, worker's page, SQL
EXPOSE 7077 8080 8081 10000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["spark-appliance", "healthcheck"]
ENTRYPOINT ["spark-appliance"]
CMD ["run"]
