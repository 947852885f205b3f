# How to run it: docs/how-to/run-in-a-container.md.
FROM python:3.13-slim-trixie AS packages
WORKDIR /tallybook
# Before the code, because the packages change seldom.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY config/__init__.py config/
# In .venv, so that each command of the documentation runs in the container as it is written.
RUN python -m venv --without-pip .venv \
    && pip --python .venv install --no-cache-dir --constraint constraints.txt '.[mysql]'

FROM python:3.13-slim-trixie
# libnss-wrapper gives a name to any user id, without which initdb does not run. tini starts the
# command, because process 1 has to pass signals on and to reap what others leave behind.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnss-wrapper tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir / --shell /usr/sbin/nologin tallybook \
    # Open to any user id, as /tmp. Tallybook closes what it makes in it.
    && install --directory --owner 10001 --mode 1777 /data
WORKDIR /tallybook
COPY --from=packages /tallybook/.venv .venv
COPY . .
# All belongs to root, so that Tallybook cannot change its own code.
RUN .venv/bin/python -m compileall -q -x '/\.venv/' .
# Exports are written to TMPDIR. With both in /data, no other folder is written.
ENV HOST=0.0.0.0 PORT=8000 TALLYBOOK_DATA_DIR=/data TMPDIR=/data
USER 10001
VOLUME /data
EXPOSE 8000
# Not /readyz, which asks the database too: Swarm ends a container that is not healthy, and a new one
# brings no database back. Not by urllib, which would go through a proxy of HTTP_PROXY.
HEALTHCHECK --start-period=60s --interval=15s --timeout=5s CMD [".venv/bin/python", "-c", "\
import os; from http.client import HTTPConnection; \
server = HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); \
server.request('GET', '/healthz'); exit(server.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--"]
CMD [".venv/bin/python", "manage.py", "serve"]
