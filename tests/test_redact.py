"""What is a secret is masked wherever it stands; what is none stays readable."""

from __future__ import annotations

import time

import pytest

from coach.redact import credential_name, holds_secret, mask, placeholder, shown, visible

GITHUB = "ghp_" + "a1B2" * 9
AWS = "AKIA" + "ABCDEFGHIJKL1234"


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("ENV API_TOKEN=abc123def", "abc123def"),
        ("ENV API_TOKEN abc123def", "abc123def"),
        ('ENV DB_PASSWORD="two words" X=1', "two words"),
        ("ENV A=1 MY_SECRET='s3cr3t-v4lue'", "s3cr3t-v4lue"),
        ("ARG NPM_TOKEN=zzzyyyxxx", "zzzyyyxxx"),
        (f"RUN curl -H 'Authorization: Bearer {GITHUB}' u", GITHUB),
        (f"RUN git clone https://x-access-token:{GITHUB}@host/r", GITHUB),
        ("RUN git clone https://me:hunter22@host/r", "hunter22"),
        ("//host/:_authToken=abcd-efgh-1234", "abcd-efgh-1234"),
        ("RUN docker login -u me --password hunter22 host", "hunter22"),
        ("RUN tool --token=abcdefgh", "abcdefgh"),
        ("  password: hunter22", "hunter22"),
        ('{"clientSecret": "qwertyuiop12"}', "qwertyuiop12"),
        (f"ENV NAME={AWS}", AWS),
        ("ENV DATABASE_URL=postgres://u:p4ssw0rd@db/x", "p4ssw0rd"),
        ("RUN echo '-----BEGIN RSA PRIVATE KEY-----MIIEabcd'", "MIIEabcd"),
        ("ENV KEY=${API_TOKEN:-qwe123rty456}", "qwe123rty456"),
        ("build-args: |\n  GH_PAT=abcdef123456", "abcdef123456"),
    ],
)
def test_a_secret_value_is_masked_and_the_line_counts_as_one(line: str, secret: str) -> None:
    assert secret in line

    assert secret not in mask(line)
    assert holds_secret(line.encode())


@pytest.mark.parametrize(
    "line",
    [
        "COPY . .",
        "RUN npm ci --omit=dev",
        "ENV PATH=/opt/x:$PATH MONKEY=see KEYBOARD=us",
        "ENV SECRET_KEY_BASE_DUMMY=1",
        "RUN SECRET_KEY=build-key python manage.py collectstatic",
        "ENV API_TOKEN=$TOKEN OTHER_TOKEN=${TOKEN:-}",
        "  DB_PASSWORD: ${{ secrets.DB }}",
        "RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci",
        "FROM node:22 AS secret",
        "cache-from: type=registry,ref=host/app:cache",
        "RUN pip install pass thing",
        "ENV PASSWORD_FILE=/run/secrets/db",
        "ARG NPM_TOKEN",
        "RUN adduser --disabled-password --gecos '' app",
        "    && adduser --disabled-password \\",
        "  id-token: write",
        'RUN pip install ${INDEX_TOKEN:+--extra-index-url "https://ci:${INDEX_TOKEN}@host/simple"} -r r.txt',
        "ENV A=${API_TOKEN:-} B=${API_TOKEN:?missing}",
        "docker login -u me --password-stdin host",
        "RUN chmod -R 755 ./node_modules/pg-connection-string ./node_modules/pg-cloudflare",
        "[ -z ${BUNDLE_WITH:-} ] || bundle config set --local with ${BUNDLE_WITH}",
        "bundle config set path v && ruby -e 'puts RbConfig::CONFIG[0]'",
        "LABEL url=https://example.com/a@b",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(line: str) -> None:
    assert mask(line) == line
    assert not holds_secret(line.encode())


def test_names_and_placeholders() -> None:
    assert all(map(credential_name, ["TOKEN", "npmToken", "GH_PAT", "AWS_SECRET_ACCESS_KEY", "db_password", "API_KEY"]))
    assert not any(map(credential_name, ["TOKENIZER", "KEY", "PATH", "SECRET_FILE", "COMPAT", "AUTHOR", "KEYCLOAK"]))
    assert all(map(placeholder, ["", "$X", "changeme", "dummy-key", "<token>", "xxxx", "1", "your-token"]))
    assert not any(map(placeholder, ["hunter2", "abc123def", GITHUB]))


def test_control_and_invisible_characters_are_written_out() -> None:
    assert visible("a\x1b[31mb\u202ec\u200bd\te\n") == "a\\x1b[31mb\\u202ec\\u200bd\te\n"
    assert shown("x" * 500, 10) == "xxxxxxxxx…"


def test_long_hostile_text_is_quick() -> None:
    began = time.monotonic()
    for text in (
        "A" * 5_000_000,
        "a=b " * 50_000,
        "://" * 60_000,
        "secret = " * 20_000,
        "--token " * 9_000,
        " " * 99_999,
    ):
        assert len(mask(text)) <= 100_000

    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "line",
    [
        "  - npm_token=NPM_TOKEN",
        "NPM_TOKEN=$NPM_TOKEN docker build --secret id=npm_token,env=NPM_TOKEN -t a .",
        "  from_secret: npm_token",
        'args: ["--secret", "id=npm_token,src=/run/token"]',
    ],
)
def test_what_only_names_a_secret_is_shown(line: str) -> None:
    assert mask(line) == line


@pytest.mark.parametrize("line", ["npm_token=npm_TOKEN1", "--secret hunter22hunter", "password: Passw0rd_X"])
def test_what_looks_alike_is_not(line: str) -> None:
    assert mask(line) != line
