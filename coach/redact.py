"""Keep secrets and terminal tricks out of everything that is shown.

Masking errs on the side of hiding: what is printed may lose a harmless value, never show a real one.
"""

from __future__ import annotations

import re

MASK = "***"

# What a credential is called. Matched on whole words of a name, so MONKEY or KEYBOARD never count.
_WORDS = (
    "password|passwd|passphrase|pwd|pass|secret|secrets|token|tokens|apikey|credential|credentials|authtoken|pat|"
    "accesskey|privatekey|secretkey|bearer"
)
_PAIRS = (
    "api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|encryption[_-]?key|signing[_-]?key|master[_-]?key|"
    "account[_-]?key|deploy[_-]?key|auth[_-]?key|ssh[_-]?key|license[_-]?key|connection[_-]?string|"
    "service[_-]?account[_-]?(?:json|key)|key[_-]?base|app[_-]?key|_auth|auth"
)
_NAME = re.compile(
    rf"(?:^|[_.-])(?:{_WORDS}|{_PAIRS})(?:$|[_.-]?\d*$|[_.-](?:base|value|default|prod|dev|ro|rw)$)", re.I
)
# Names that speak *about* a credential and hold none.
_ABOUT = re.compile(
    r"(?:_|-)(?:file|path|dir|name|id|url|uri|host|type|ttl|expiry|length|algorithm|version|enabled|required|header|"
    r"policy|dummy|placeholder|env|var|field|mount|stdin|prompt)$|^(?:no|disabled?|without|skip|allow|enabled?|use|has|is|"
    r"prompt|ask|generate|require|show|hide)[_-]",
    re.I,
)
_PLACEHOLDER = re.compile(
    r"""^(?:|\\|[*x.#-]+|\d{1,3}|true|false|yes|no|none|null|nil|undefined|empty|unset|todo|tbd|read|write|inherit|
        .*(?:dummy|change[_-]?me|placeholder|example|replace[_-]?me|insert|your[_-]|not[_-]?(?:a[_-])?(?:real|secret)|
        fake|sample|insecure|unsafe).*|
        (?:test|testing|build|buildtime|dev|development|local|ci|temp|tmp|foo|bar|foobar|secret|password|token)
        (?:[_-]?(?:key|secret|token|password|build|only|value|time))*|
        <[^>]*>|\[[^\]]*\]|\$.*|%[^%]*%|\{\{.*)$""",
    re.I | re.X,
)

# Shapes that are a secret wherever they stand. Prefixes: docs.github.com "About authentication" (gh?_, github_pat_),
# docs.gitlab.com "Token prefixes" (glpat-), docs.aws.amazon.com "IAM unique identifiers" (AKIA/ASIA), docs.npmjs.com
# (npm_), api.slack.com (xox?-), docs.stripe.com (sk_live_), pypi.org/help (pypi-), cloud.google.com (AIza);
# read 2026-11.
_SHAPES = re.compile(
    r"""(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{12,}|
        (?:AKIA|ASIA)[A-Z0-9]{12,}|npm_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|
        [sr]k_(?:live|test)_[A-Za-z0-9]{10,}|sk-[A-Za-z0-9_-]{20,}|pypi-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|
        dckr_pat_[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{20,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|
        eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,})""",
    re.X,
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.S)
_USERINFO = re.compile(
    r"(?P<head>[A-Za-z][A-Za-z0-9+.-]{1,20}://)(?P<user>[^\s:/@'\"]{0,200})(?P<colon>:?)(?P<password>[^\s/@'\"]{0,400})@"
)
_HEADER = re.compile(
    r"(?P<head>\b(?:authorization|x-api-key|private-token|job-token)['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|token)\s+)?)(?P<value>[^\s'\"]{4,})",
    re.I,
)
_AUTH_SCHEME = re.compile(r"(?P<head>\b(?:bearer|basic)\s+)(?P<value>[A-Za-z0-9+/_.=-]{12,})", re.I)
_NPMRC = re.compile(r"(?P<head>_(?:authToken|auth|password)\s*=\s*['\"]?)(?P<value>[^\s'\"$][^\s'\"]*)", re.I)
_VALUE = r"(?:\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[\"'][^\"'\n]*$|[^\s,;&|)}\]]+)"
_ASSIGN = re.compile(
    rf"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{{1,80}})(?P<quote>['\"]?)(?P<sep>\s{{0,9}}[:=]\s{{0,9}})(?P<value>{_VALUE})",
    re.M,
)
_LAST_PAIR = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,80})=(?P<value>[^=\s]+)$")
# what is left of a value that holds a sign which might have ended it
_REST = re.compile(r"(?<=\*\*\*)[,;&|)}\]][^\s'\",;&|)}\]][^\s'\"]*")
_LEGACY = re.compile(
    r"(?P<head>^\s*(?:ONBUILD\s+)?(?:ENV|ARG|LABEL)\s+)(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)(?P<quote>)(?P<sep>\s+)(?P<value>[^\n]+)",
    re.I | re.M,
)
_DEFAULT = re.compile(r"(?P<head>\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]{1,80}):?[-=])(?P<value>[^$}\s\"']{1,400})")
_FLAG = re.compile(
    r"(?<![\w./-])(?P<name>--?[A-Za-z][A-Za-z0-9-]{1,60})(?P<quote>)"
    rf"(?P<sep>[= ]\s*|\\?[\"']\s*,\s*(?=\\?[\"']))(?P<value>{_VALUE})",
    re.M,
)
# Words that hold a credential by their place in one command's line: what tells the command, then the place. Compiled
# by re when first used: the second one only where the first one is met.
_BARE = r"(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s'\"`|;&)]+)"
_PLACES = (
    (r"\blogin\b|\bsshpass\b|\bnuget\b", rf"(?P<head>\s-p[= ]?\s{{0,9}})(?!assword){_BARE}"),
    (r"\b(?:mysql|mariadb)", r"(?P<head>\s-p)(?P<value>[^\s'\"]+|'[^']*'|\"[^\"]*\")"),
    (r"\bopenssl\b", rf"(?P<head>\s-k\s{{1,9}}|\s-pass(?:in|out)?\s{{1,9}}['\"]?pass:){_BARE}"),
    (
        r"\b(?:curl|wget|httpie?|lftp|jfrog|jf|svn)\b",
        r"(?P<head>(?:\s|^|['\"])(?:-u|-U|--user|--proxy-user|-a)(?:[= ]\s{0,9}|['\"]\s*,\s*)?"
        rf"['\"]?[^\s:'\"-][^\s:'\"]{{0,200}}:){_BARE}",
    ),
    (r"\bchpasswd\b", r"(?P<head>[A-Za-z_][A-Za-z0-9_.-]{0,60}:)(?P<value>[^\s'\"|<]+)"),
    (
        r"\bpassword-stdin\b|\bpasswd\b|\bsudo\s+-S\b|--with-token\b",
        rf"(?P<head>\b(?:echo|printf)\s{{1,9}}(?:-[neE]+\s{{1,9}}|['\"]?%s(?:\\n)?['\"]?\s{{1,9}})?){_BARE}",
    ),
    (
        r"\bconfig(?:ure)?\b",
        rf"(?P<head>(?:\b(?:http-basic|custom-headers)\.\S{{1,200}}\s{{1,9}}\S{{1,200}}\s{{1,9}}"
        rf"|\b(?:pypi-token|github-oauth|gitlab-token|gitlab-oauth|bearer|forgejo-token)\.\S{{1,200}}\s{{1,9}}"
        rf"|_(?:authToken|auth|password)['\"]?\s{{1,9}}"
        r"|(?<=[\s._:-])(?:aws_)?(?:secret_access_key|session_token|password|passwd|token|secret|api[_-]?key)\s{1,9})"
        rf"){_BARE}",
    ),
    (
        r"\bbundle(?:r)?\b.{0,40}\bconfig\b",
        r"(?P<head>\s['\"]?[^\s:'\"/${(-][^\s:'\"/${}]{0,100}:)(?P<value>[^\s:'\"/][^\s'\"]*)",
    ),
    (r"\bmachine\b|\blogin\b", rf"(?P<head>\blogin\s{{1,9}}\S{{1,200}}\s{{1,9}}password\s{{1,9}}){_BARE}"),
    (
        r"\bidentified\b|\bpassword\b",
        r"(?P<head>\b(?:identified\s{1,9}by|password)\s{1,9}['\"\\]{1,3})(?P<value>[^'\"\\\n]+)",
    ),
)
# docker's own words for a secret that is mounted: its name, and the variable or the file that holds it
_SECRET_OPTION = re.compile(r"id=[\w.-]{1,100}(?:,(?:type|env|src|source)=[\w./~-]{1,200}){0,3}")
_LONGEST = 20_000


def credential_name(name: str) -> bool:
    """Whether something called ``name`` is meant to hold a credential. A name alone is a weak sign."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return bool(_NAME.search(plain)) and not _ABOUT.search(plain)


def placeholder(value: str) -> bool:
    """Whether a value stands for "nothing secret here": empty, a variable, ``dummy``, ``changeme`` …"""
    return bool(_PLACEHOLDER.match(value.strip().strip("'\"")))


def secret_shaped(value: str) -> bool:
    """Whether ``value`` holds something that is a secret by its very form (a token prefix, a private key)."""
    return bool(_SHAPES.search(value) or _PEM.search(value))


def _userinfo(match: re.Match[str]) -> str:
    user, password = match["user"], match["password"]
    if match["colon"]:
        if not password or placeholder(password):
            return match[0]
        return f"{match['head']}{user}:{MASK}@"
    return match[0] if len(user) < 12 or placeholder(user) else f"{match['head']}{MASK}@"


def _headed(match: re.Match[str]) -> str:
    return match[0] if placeholder(match["value"]) else f"{match['head']}{MASK}"


def _named(name: str, value: str) -> bool:
    """Whether ``value`` only names a secret: ``from_secret: x``, ``--secret id=x,env=X``, ``npm_token=NPM_TOKEN``."""
    plain = value.strip("'\"")
    if re.fullmatch(r"(?:.*[._-])?from[_-]?secret", name, re.I):
        return re.fullmatch(r"[\w./-]{1,100}", plain) is not None
    if name.lower() == "secret" and _SECRET_OPTION.fullmatch(plain):
        return True
    return plain.isupper() and "_" in plain and name.islower() and plain.lower() == name


def _assigned(match: re.Match[str]) -> str:
    name, value = match["name"].lstrip("-"), match["value"]
    if match.string[max(0, match.start() - 2) : match.start()] == "${":
        return match[0]
    if _named(name, value) or not credential_name(name) or placeholder(value) or value.startswith(MASK):
        last = _LAST_PAIR.search(value)
        if last is None or not credential_name(last["name"]) or placeholder(last["value"].rstrip("'\"")):
            return match[0]
        return match[0][: len(match[0]) - len(last["value"])] + MASK
    head = match.groupdict().get("head", "")
    return f"{head}{match['name']}{match['quote']}{match['sep']}{MASK}"


def _defaulted(match: re.Match[str]) -> str:
    """``${NAME:-value}``: the default is a literal; what stands in ``${NAME:+…}`` is used instead of the secret."""
    if not credential_name(match["name"]) or placeholder(match["value"]):
        return match[0]
    return f"{match['head']}{MASK}"


def mask(text: str) -> str:
    """``text`` with every value that is, or is named like, a secret replaced by ``***``."""
    if len(text) > _LONGEST:
        text = text[:_LONGEST]
    text = _PEM.sub(MASK, text)
    text = _SHAPES.sub(MASK, text)
    text = _USERINFO.sub(_userinfo, text)
    text = _HEADER.sub(_headed, text)
    text = _AUTH_SCHEME.sub(_headed, text)
    text = _NPMRC.sub(_headed, text)
    text = _DEFAULT.sub(_defaulted, text)
    text = _LEGACY.sub(_assigned, text)
    text = _ASSIGN.sub(_assigned, text)
    text = _FLAG.sub(_assigned, text)
    for command, place in _PLACES:
        if re.search(command, text, re.I):
            text = re.sub(place, _headed, text, flags=re.I | re.M)
    return _REST.sub("", text)


def mask_lines(text: str) -> str:
    """``text`` masked line by line, as long as it may be."""
    return "\n".join(mask(line) for line in text.split("\n"))


def holds_secret(line: bytes) -> bool:
    """Whether a raw line may not be shown as it is. A line too long to judge counts as one."""
    if len(line) > _LONGEST:
        return True
    text = line.decode("utf-8", "replace")
    return mask(text) != text


# C0, DEL, C1, and the characters that reorder or hide text (bidi controls, zero width, line separators).
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def visible(text: str) -> str:
    """``text`` with control and invisible characters written out (``\\x1b``), tabs and newlines kept."""
    return _HIDDEN.sub(
        lambda match: f"\\x{ord(match[0]):02x}" if ord(match[0]) < 256 else f"\\u{ord(match[0]):04x}", text
    )


def said(text: str) -> str:
    """A sentence of coach's own that may quote a file: masked and made visible, never cut."""
    return visible(mask_lines(text))


def shown(text: str, limit: int = 240) -> str:
    """One line fit for any output: masked, made visible, cut to ``limit`` characters."""
    text = visible(mask(text)).rstrip()
    return text if len(text) <= limit else text[: limit - 1] + "…"
