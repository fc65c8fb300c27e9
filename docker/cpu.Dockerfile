# Server on a CPU, from the root of the repository:
#   docker build -f docker/cpu.Dockerfile -t mms-engine:cpu .
# Not built where it was written, which has no Docker daemon; tests/tools/test_docker.py checks its
# paths, extras, options and variables.

FROM python:3.12-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN python -m venv /opt/mms \
    && /opt/mms/bin/pip install --no-cache-dir -c constraints.txt '.[cpu,serve,align,tts,otel]'

FROM python:3.12-slim-bookworm
# The bundles are mounted; the rest of the folder holds the measured capacity for live streams.
ENV PATH=/opt/mms/bin:$PATH XDG_CACHE_HOME=/var/cache/mms
RUN useradd --uid 10001 --create-home mms \
    && mkdir -p /var/cache/mms/mms-engine/bundles && chown -R mms /var/cache/mms
COPY --from=build /opt/mms /opt/mms
USER 10001
EXPOSE 8000
# 503 while it loads, drains, or after a failure of the device.
HEALTHCHECK --interval=10s --start-period=120s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready')"]
ENTRYPOINT ["mms"]
CMD ["serve", "--host", "0.0.0.0"]
