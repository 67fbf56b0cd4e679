"""Does the final stage run as root?"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from coach.accounts import accounts
from coach.dockerfile import Instruction, Stage
from coach.errors import CoachError, InputError
from coach.images import Role
from coach.model import Answer, Edit, Evidence, Remedy, Safety, Span, certain, likely, unknown
from coach.shell import Command, Script, parse, parse_argv
from coach.shipped import Shipped, agreed, variants
from coach.site import Site
from coach.split.environment import by_hash

NODE = "nonroot"
FIX = "F12"
SECTION = "Run as a numeric user"
ANTI_PATTERN = "Root in the final stage"

UNPRIVILEGED = 65532  # the number distroless uses for `nonroot`; nothing else has it
_DROPPERS = frozenset(
    {"su-exec", "gosu", "setpriv", "runuser", "su", "chpst", "s6-setuidgid", "setuidgid", "start-stop-daemon", "capsh"}
)
_MASTERS = {
    "nginx": "nginx runs its workers as its own user",
    "httpd": "httpd runs its workers as its own user",
    "httpd-foreground": "httpd runs its workers as its own user",
    "apache2-foreground": "Apache runs its workers as www-data",
    "apache2": "Apache runs its workers as www-data",
    "apachectl": "Apache runs its workers as www-data",
    "apache2ctl": "Apache runs its workers as www-data",
    "php-fpm": "php-fpm runs its workers as its own user",
    "supervisord": "supervisord can run each program as its own user",
    "s6-svscan": "s6 can run each program as its own user",
}
_NEEDS_ROOT = frozenset(
    "chown useradd usermod groupmod adduser addgroup groupadd chpasswd update-ca-certificates update-ca-trust "
    "sshd cron crond dockerd mount umount sysctl iptables ip6tables nft".split()
)
_ROOTS_OWN = re.compile(r"/(?:etc|usr|var/run)/")  # an image's folders that belong to root unless they are handed over
_SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh"})
_WRAPPERS = frozenset({"tini", "dumb-init", "catatonit", "docker-init"})
_STATES = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})


@dataclass(frozen=True)
class _Verdict:
    """Who the container starts as. ``root`` is ``None`` where it cannot be told."""

    root: bool | None
    sure: bool
    says: str
    line: int
    instruction: Instruction | None = None


def probe(site: Site) -> Answer:
    """``yes`` when the container's first process starts as uid 0."""
    return agreed([_judge(site, shipped) for shipped in variants(site)])


def _judge(site: Site, shipped: Shipped) -> Answer:
    verdict = _verdict(shipped)
    evidence = site.cite(verdict.line, verdict.says)
    if verdict.root is None:
        return unknown(
            f"{verdict.says}, so who the container runs as cannot be told",
            f"docker image inspect --format '{{{{.Config.User}}}}' {shipped.base_named} (empty means root)",
            evidence,
        )
    if not verdict.root:
        answer = certain if verdict.sure else likely
        return answer("no", verdict.says, evidence)
    start = shipped.start
    if shipped.base_ref == "scratch" and start.entrypoint is None and start.command is None:
        return likely(
            "no", "the image only holds files: it has neither CMD nor ENTRYPOINT, so nothing runs in it", evidence
        )
    drop = _drop(shipped)
    if drop is not None:
        return likely("yes", f"the container starts as root; {drop.says}", evidence, drop)
    answer = certain if verdict.sure else likely
    return answer("yes", f"{verdict.says}, so the container runs as root", evidence)


def _verdict(shipped: Shipped) -> _Verdict:
    site = shipped.site
    said = shipped.instructions("USER")
    if said:
        last = said[-1]
        user = site.graph.state(last).expand(last.value).text
        dynamic = "$" in last.value
        if user is None:
            return _Verdict(None, False, "USER is a variable without a known value", last.line, last)
        root = _is_root(user)
        shown = f"USER {user}" if not dynamic else f"USER is a variable that is {user} unless a build passes another"
        return _Verdict(root, not dynamic, shown, last.line, last)
    line = shipped.base_line
    if shipped.base_ref == "scratch":
        return _Verdict(True, True, "scratch has no user of its own and no USER is set", line)
    facts = shipped.base
    if facts is None or facts.user is None:
        named = shipped.base_named
        return _Verdict(None, False, f"no USER is set and the default user of {named} is not known", line)
    if _is_root(facts.user):
        return _Verdict(True, True, f"no USER is set and {shipped.base_named} defaults to root", line)
    return _Verdict(False, True, f"{shipped.base_named} runs as user {facts.user} by itself", line)


def _is_root(user: str) -> bool:
    name = user.split(":", 1)[0].strip()
    return name in ("root", "") or (name.isascii() and name.isdigit() and int(name) == 0)


def _drop(shipped: Shipped) -> Evidence | None:
    """Where root is given up when the container starts, if anywhere."""
    site, start = shipped.site, shipped.start
    said = start.entrypoint or start.command
    line = said.line if said is not None else shipped.base_line
    passed = start.command  # what a script as entrypoint goes on to
    if start.entrypoint is not None and start.entrypoint.json and passed is not None:
        found = _drop_in(parse_argv(start.entrypoint.words))
        if found is None:
            found = _drop_in(parse_argv(passed.words) if passed.json else parse(passed.value))
            line = passed.line if found is not None else line
    else:
        found = _drop_in(start.script)
    if found is not None:
        return site.cite(line, found)
    script = _script_file(shipped)
    if script is not None:
        path, text = script
        for command in parse(text).commands:
            name = _dropper(command)
            at = text[: command.start].count("\n") + 1
            if name is not None:
                return site.cite(at, f"the entrypoint gives up root with {name}", path=path)
            if command.name in _MASTERS:
                return site.cite(at, _MASTERS[command.name], path=path)
    facts = shipped.base
    if facts is not None and facts.drops and start.entrypoint is None:
        own = start.command is None or _keeps_server(start.words)
        if own:
            return site.cite(shipped.base_line, f"{shipped.base_named}: {facts.drops}")
    return None


def _keeps_server(words: tuple[str, ...]) -> bool:
    """Whether a CMD leaves the base image's own entrypoint in charge (its server, or options for it)."""
    if not words:
        return False
    name = posixpath.basename(words[0])
    return words[0].startswith("-") or name in _MASTERS or name in ("postgres", "mysqld", "redis-server", "mongod")


def _dropper(command: Command) -> str | None:
    """The program with which a command becomes an unprivileged user."""
    for word in command.argv:
        if word.text is not None and posixpath.basename(word.text) in _DROPPERS:
            return posixpath.basename(word.text)
    return None


def _drop_in(script: Script) -> str | None:
    for command in script.commands:
        dropper = _dropper(command)
        if dropper is not None:
            return f"it gives up root with {dropper}"
        words = [word for word in command.words if word is not None]
        while words and posixpath.basename(words[0]) in _WRAPPERS:
            words = [word for word in words[1:] if not word.startswith("-")]
        if not words:
            continue
        name = re.sub(r"(?<=php-fpm)[\d.]+$", "", posixpath.basename(words[0]))
        if name in _MASTERS:
            return _MASTERS[name]
        if words[0] == "/init":
            return "s6's init can run each program as its own user"
    return None


def _script_file(shipped: Shipped) -> tuple[str, str] | None:
    """Repository path and text of the script that the container starts with, when the repository holds it."""
    start = shipped.start
    view = shipped.site.layers.view(shipped.stage)
    state = shipped.site.graph.state_at_end(shipped.stage)
    for command in start.script.commands:
        for word in command.words[:4]:
            if word is None or word.startswith("-"):
                continue
            places = [posixpath.normpath(posixpath.join(state.workdir or "/", word))]
            if "/" not in word:
                places += [f"{folder}/{word}" for folder in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin")]
            for place in places:
                path = view.get(place)
                if path is None:
                    continue
                try:
                    content = shipped.site.read(path)
                except InputError:
                    continue
                head = content[:64].split(b"\n", 1)[0]
                if content.startswith(b"#!") and b"sh" in head:
                    return path, content.decode("utf-8", "replace")
    return None


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """A numeric USER before the container's command; guidance where the image needs root to start."""
    if answer.choice != "yes":
        return None
    shipped = Shipped(site)
    verdict = _verdict(shipped)
    if _drop(shipped) is not None:
        says = (
            "The container starts as root and gives it up by itself. Where Kubernetes demands `runAsNonRoot`, start it"
        )
        says += (
            " with a numeric user from the outside, and give that user the directories the entrypoint would hand over."
        )
        return Remedy(Safety.SHOW, reasons=("the entrypoint needs root to do its work",), guidance=says)
    facts = shipped.base
    if facts is not None and facts.role is Role.SERVER:
        other = "nginxinc/nginx-unprivileged" if shipped.base_named.split(":")[0].endswith("nginx") else "another user"
        says = (
            f"{shipped.base_named} expects to start as root. Use {other}, or give the server's own directories to the"
        )
        says += " user you choose and listen on a port above 1023."
        return Remedy(Safety.SHOW, reasons=("the server writes to directories that belong to root",), guidance=says)
    if "/.devcontainer/" in f"/{site.path}":
        says = "Set `remoteUser` in devcontainer.json: its tools and features are installed as root, and people work as"
        return Remedy(
            Safety.SHOW,
            reasons=("devcontainer.json says as whom people work in it",),
            guidance=f"{says} that user.",
        )
    owner = _hands_over(shipped)
    if owner is not None:
        says = f"Line {owner.line} of {owner.path} needs root. Do that while building, then add USER."
        return Remedy(Safety.SHOW, reasons=("the container's script needs root",), guidance=says)
    uid, named = _pick(shipped)
    at_home = _under_root(shipped)
    if at_home is not None:
        says = f"Move what runs out of /root (line {at_home.line}), which only root may enter, then add `USER {uid}`."
        return Remedy(Safety.SHOW, reasons=("what runs lies below /root",), guidance=says)
    if not named and _syncs_at_start(shipped):
        says = f"Start the program of the environment itself (`.venv/bin` first on the PATH), then add `USER {uid}`."
        why = "`uv run` keeps a cache in the user's home, which this user has not"
        return Remedy(Safety.SHOW, reasons=(why,), guidance=says)
    try:
        edits, reasons = _edits(shipped, verdict, uid)
        if probe(site.after(edits)).choice != "no":
            return _show(uid)
    except CoachError:
        return _show(uid)
    who = f"{uid} is the image's own user {named}" if named else f"{uid} needs no entry in /etc/passwd"
    return Remedy(Safety.REVIEW, tuple(edits), tuple(reasons), f"{who}; a number lets Kubernetes check `runAsNonRoot`.")


def _hands_over(shipped: Shipped) -> Evidence | None:
    """Where what the container starts, or the script it starts with, does what only root may do."""
    start = shipped.start
    said = start.entrypoint or start.command
    if said is not None:
        for command in start.script.commands:
            if _for_root(command):
                return shipped.site.cite(said.line, "needs root", said.end_line)
    script = _script_file(shipped)
    if script is None:
        return None
    path, text = script
    for command in parse(text).commands:
        if _for_root(command):
            return shipped.site.cite(text[: command.start].count("\n") + 1, "needs root", path=path)
    return None


def _for_root(command: Command) -> bool:
    """Whether ``command`` is one that only root may run, or writes to a file that belongs to root."""
    if command.name in _NEEDS_ROOT:
        return True
    return any(
        redirect.operator in (">", ">>", ">|") and _ROOTS_OWN.match(redirect.target.text or "")
        for redirect in command.redirects
    )


def _show(uid: str) -> Remedy:
    return Remedy(
        Safety.SHOW,
        reasons=("where USER belongs cannot be told",),
        guidance=f"Put `USER {uid}` above the CMD or ENTRYPOINT of the final stage.",
    )


def _pick(shipped: Shipped) -> tuple[str, str]:
    """``uid:gid`` to run as, and the name it has in the image ("" when it has none)."""
    made = _made_user(shipped)
    if made is not None:
        return made
    facts = shipped.base
    if facts is not None:
        for name, user in facts.users.items():
            if name not in ("ubuntu", "www-data"):
                return f"{user.uid}:{user.gid}", name
    return f"{UNPRIVILEGED}:{UNPRIVILEGED}", ""


def _made_user(shipped: Shipped) -> tuple[str, str] | None:
    """The last user that the image's own layers create with a number; the group only where it has one as well."""
    made = accounts(command for run in shipped.runs for command in run.script.commands)
    for account in reversed(made.values()):
        if account.uid:
            return (f"{account.uid}" if account.gid is None else f"{account.uid}:{account.gid}"), account.name
    return None


def _under_root(shipped: Shipped) -> Instruction | None:
    """What puts the program below /root, whose mode keeps everyone else out."""
    site = shipped.site
    for run in shipped.runs:
        live = [cache for step in run.steps for cache in step.caches if cache.role == "live"]
        if any(cache.path is not None and cache.path.startswith("/root/") for cache in live):
            return run.instruction  # Yarn's Plug'n'Play and Deno run packages out of their caches
    for stage in shipped.lineage:
        for instruction in stage.body:
            if instruction.name in ("COPY", "ADD") and instruction.words:
                target = site.graph.state(instruction).expand(instruction.words[-1]).text or ""
                workdir = site.graph.state(instruction).workdir or "/"
                if (posixpath.join(workdir, target) + "/").startswith("/root/"):
                    return instruction
            if instruction.name == "ENV" and any(
                key == "PATH" and re.search(r"(?:^|:)\"?(?:/root/|~/|\$HOME/|\$\{HOME\}/)", value or "")
                for key, value in instruction.pairs
            ):
                return instruction
    for command in shipped.start.script.commands:
        if command.name in ("poetry", "pipenv") and "run" in command.words[1:2]:
            workdir = site.graph.state_at_end(shipped.stage).workdir or "/"
            return by_hash(shipped, command.name, workdir)
    return None


def _syncs_at_start(shipped: Shipped) -> bool:
    """Whether the command is `uv run`, with nowhere to keep its cache for a user who has no home."""
    names = shipped.site.graph.state_at_end(shipped.stage).names()
    if names.get("UV_CACHE_DIR") or names.get("UV_NO_CACHE") or names.get("HOME") or names.get("XDG_CACHE_HOME"):
        return False
    return any(
        command.name == "uv" and command.words[1:2] == ("run",) and not {"--no-cache", "-n"} & set(command.words)
        for command in shipped.start.script.commands
    )


def _edits(shipped: Shipped, verdict: _Verdict, uid: str) -> tuple[list[Edit], list[str]]:
    site, stage = shipped.site, shipped.stage
    reasons = _reasons(shipped, uid)
    said = verdict.instruction
    if said is not None and "$" in said.value:
        default = _default(shipped, said)
        if default is not None:
            return [Edit(site.path, default, uid.split(":")[0].encode())], reasons
    if said is not None and said.stage == stage.index and not _work_after(stage, said):
        start = said.offset(0)
        return [Edit(site.path, Span(start, said.offset(len(said.value.rstrip()) - 1) + 1), uid.encode())], reasons
    tag = _nonroot_tag(shipped)
    if said is None and tag is not None:
        return [tag], reasons
    edits = []
    eol = site.dockerfile.eol
    owned = _volumes(stage, site)
    if owned and shipped.base is not None and shipped.base.shell and not shipped.instructions("USER"):
        first = next(found for found in stage.body if found.name == "VOLUME")
        folders = " ".join(owned)
        line = f"RUN mkdir -p {folders} && chown {uid} {folders}".encode()
        edits.append(Edit(site.path, Span(first.span.start, first.span.start), line + eol))
    edits.append(_insert(site, stage, f"USER {uid}".encode()))
    return edits, reasons


def _insert(site: Site, stage: Stage, line: bytes) -> Edit:
    """``line`` above the first CMD or ENTRYPOINT that no RUN follows, else at the end of the stage."""
    eol = site.dockerfile.eol
    last_work = max((found.span.start for found in stage.body if found.name in _STATES), default=-1)
    for found in stage.body:
        if found.name in ("CMD", "ENTRYPOINT") and found.span.start > last_work:
            first = found.line
            while first > 1 and site.dockerfile.text(first - 1).lstrip().startswith("#"):
                first -= 1  # what is said about the command stays with it
            at = found.span.start if first == found.line else site.dockerfile.line_span(first, first).start
            return Edit(site.path, Span(at, at), line + eol)
    end = stage.body[-1].span.end if stage.body else stage.head.span.end
    return Edit(site.path, Span(end, end), eol + line)


def _work_after(stage: Stage, said: Instruction) -> bool:
    return any(found.name == "RUN" and found.span.start > said.span.start for found in stage.body)


def _nonroot_tag(shipped: Shipped) -> Edit | None:
    """The FROM of a distroless image without a tag of its own, moved to ``:nonroot``."""
    facts, stage = shipped.base, shipped.stage
    ref = shipped.base_ref
    if facts is None or facts.family != "distroless" or len(shipped.lineage) != 1 or ref != stage.base:
        return None
    if facts.reference.digest or facts.reference.tag not in ("", "latest", "debug"):
        return None
    tag = "debug-nonroot" if facts.reference.tag == "debug" else "nonroot"
    at = stage.head.value.find(stage.base)
    span = Span(stage.head.offset(at), stage.head.offset(at + len(stage.base) - 1) + 1)
    return Edit(shipped.site.path, span, facts.reference.with_tag(tag).encode())


def _default(shipped: Shipped, said: Instruction) -> Span | None:
    """Where the default of the ARG behind USER stands, when that default is what makes it root."""
    name = re.fullmatch(r"\"?\$\{?(\w+)\}?(?::\"?\$?\{?\w+\}?)?\"?", said.value.strip())
    if name is None:
        return None
    for found in reversed(shipped.instructions("ARG")):
        for key, value in found.pairs:
            if key == name[1] and value is not None and _is_root(value.strip("\"'")):
                at = found.value.find("=", found.value.find(key)) + 1
                if at and found.value[at : at + len(value)] == value:
                    return Span(found.offset(at), found.offset(at + len(value) - 1) + 1)
    return None


def _volumes(stage: Stage, site: Site) -> list[str]:
    found = []
    for instruction in stage.body:
        if instruction.name == "VOLUME":
            words = instruction.words or tuple(instruction.value.split())
            for word in words:
                text = site.graph.state(instruction).expand(word).text
                if text is not None and re.fullmatch(r"/[\w./-]+", text):
                    found.append(text)
    return found


def _reasons(shipped: Shipped, uid: str) -> list[str]:
    site = shipped.site
    reasons = [f"whatever the program writes to must belong to {uid}; the repository does not tell what that is"]
    ports = _low_ports(shipped)
    if ports:
        below = f"port {ports[0]} is" if len(ports) == 1 else f"ports {', '.join(ports)} are"
        reasons.append(f"{below} below 1024: not every runtime lets an unprivileged user bind it")
    volumes = [word for stage in shipped.lineage for word in _volumes(stage, site)]
    if volumes:
        reasons.append(f"existing volumes at {', '.join(volumes)} keep their owner and must be handed over once")
    commands = shipped.start.script.commands
    if shipped.start.entrypoint is None and all(
        len(command.words) < 2 and command.name in _SHELLS for command in commands
    ):
        reasons.append("it starts no program of its own: images that are built on it would no longer build as root")
    start = {word for command in commands for word in command.words if word}
    if start & {"pnpm", "yarn", "corepack", "uv", "poetry", "pipenv"}:
        reasons.append("the command starts a package manager, which may want a HOME it can write to")
    return reasons


def _low_ports(shipped: Shipped) -> list[str]:
    found = []
    for instruction in shipped.instructions("EXPOSE"):
        for word in instruction.words or tuple(instruction.value.split()):
            number = word.split("/")[0]
            if number.isdigit() and 0 < int(number) < 1024:
                found.append(number)
    return list(dict.fromkeys(found))
