# One image for the web and for the workers. Everything it needs to know comes from the environment; see docs/operations.md.
#
#   docker run --env-file production.env IMAGE python manage.py migrate
#   docker run --env-file production.env --publish 8000:8000 IMAGE
#   docker run --env-file production.env --env EMAIL_HEARTBEAT_FILE=/tmp/alive --stop-timeout 210 \
#       --health-cmd "python -m emailqueue.worker.heartbeat /tmp/alive" IMAGE \
#       python manage.py rqworker critical high normal low events

FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PATH=/venv/bin:$PATH
RUN python -m venv /venv && pip install --upgrade "pip>=25.1"
WORKDIR /src
# First what changes seldom, so that a change of the code installs the code alone.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > dependencies.txt && \
    pip install --constraint constraints.txt --requirement dependencies.txt --group example
COPY hatch_build.py README.md LICENSE ./
COPY emailqueue emailqueue
COPY events events
COPY templates templates
RUN pip install --no-deps . && pip check
WORKDIR /app
COPY manage.py ./
COPY config config
# The translations have been compiled in /src. The key counts for this command alone: without one the image does not start,
# see config/settings.py.
RUN cp -r /src/events /src/templates . && SECRET_KEY=unused python manage.py collectstatic --noinput

FROM python:3.13-slim-trixie
ENV DEBUG=0 PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --user-group --no-create-home app
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
# By its number: Kubernetes then knows that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=20s --timeout=10s CMD ["python", "-m", "config.probe", "/health/"]
CMD ["gunicorn", "config.wsgi", "--bind=0.0.0.0:8000", "--workers=2", "--threads=4", "--worker-tmp-dir=/dev/shm", \
     "--no-control-socket"]
