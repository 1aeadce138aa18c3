# The appliance in a container, for a Jetson that runs Docker or to try it on a PC: docs/containers.md.
# The base can be any Debian 13 image; this one exists for x86-64 and 64-bit ARM.
ARG BASE=docker.io/library/debian:trixie-slim
FROM ${BASE}

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates fonts-dejavu-core python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

# The same IDs in every image, so that an update does not change who owns the volume.
RUN groupadd --gid 8443 interview-grader \
 && useradd --uid 8443 --gid 8443 --groups video --no-create-home --home-dir /var/lib/interview-grader \
      --shell /usr/sbin/nologin interview-grader \
 && install -d -m 700 -o interview-grader -g interview-grader /var/lib/interview-grader

COPY pyproject.toml LICENSE /usr/src/interview-grader/
COPY requirements /usr/src/interview-grader/requirements
COPY appliance /usr/src/interview-grader/appliance
COPY models /usr/src/interview-grader/models
# The locks name what is installed, with hashes; the build tools have their own lock.
RUN cd /usr/src/interview-grader \
 && python3 -m venv /opt/interview-grader \
 && pip='/opt/interview-grader/bin/python -m pip install --no-cache-dir' \
 && $pip --require-hashes -r requirements/litert.txt \
 && $pip --require-hashes --target /tmp/tools -r requirements/build.txt \
 && PYTHONPATH=/tmp/tools $pip --no-deps --no-build-isolation . \
 && rm -rf /tmp/tools /usr/src/interview-grader

USER interview-grader
# Every command uses the state in the volume, as the daemon does.
# One malloc arena: each thread would keep its own free memory for good.
ENV PATH=/opt/interview-grader/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 XDG_STATE_HOME=/var/lib MALLOC_ARENA_MAX=1 \
    INTERVIEW_GRADER__ACCESS__LOOPBACK=login
VOLUME /var/lib/interview-grader
EXPOSE 8443
STOPSIGNAL SIGTERM
# 503, such as for a lost camera, counts as unhealthy. The certificate is self-signed.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import ssl, urllib.request as u; u.urlopen('https://127.0.0.1:8443/healthz', timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["interview-grader"]
CMD ["run", "--host", "0.0.0.0", "--port", "8443"]
