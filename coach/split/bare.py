"""Whether a Node program can run on an image that holds node and nothing else: no shell, no package manager."""

from __future__ import annotations

import posixpath
import re

from coach import images
from coach.dockerfile import Instruction
from coach.errors import InputError
from coach.images import Libc
from coach.manifests.node_facts import NodeFacts
from coach.shipped import Shipped
from coach.split.draft import Draft, plain_words
from coach.split.runtime import prepared, runtime_packages

# The Hub's own name: who pulls through a mirror or pins a release or a digest decides about the base by hand.
_PLAIN = re.compile(r"(?:docker\.io/)?(?:library/)?node:\d+(?:-(?:slim|bullseye|bookworm|trixie))*")
_PLATFORMS = frozenset({"linux/amd64", "linux/arm64", "linux/arm64/v8"})
# No newer libc than that of the image without a shell (Debian 13): addons compiled on these load there.
_RELEASES = frozenset({"", "bullseye", "bookworm", "trixie"})
_PROGRAM = re.compile(rb"child_process")
_CODE = re.compile(r".*\.[cm]?[jt]sx?")
_STARTS_OTHERS = frozenset(
    "execa cross-spawn shelljs zx pm2 forever nodemon concurrently npm-run-all cross-env prisma @prisma/client "
    "puppeteer playwright puppeteer-core playwright-core chromium fluent-ffmpeg gm imagemagick simple-git canvas "
    "odbc oracledb ibm_db pg-native".split()
)
_MOST_FILES = 3000
_NUMBERS = re.compile(r"\d+(?::\d+)?")
_COMPOSE = re.compile(r"(?:docker-)?compose[\w.-]*\.ya?ml")
_OVERRIDDEN = re.compile(r"^\s*(?:command|entrypoint|healthcheck)\s*:", re.M)


def settle(shipped: Shipped, draft: Draft, workdir: str, packages: dict[str, NodeFacts], shipped_package: str) -> None:
    """Give ``draft`` the libraries that ``shipped_package`` is known to load, or the image of node alone."""
    base, facts = shipped.base, packages[shipped_package]
    assert base is not None
    if {"prisma", "@prisma/client"} & facts.dependencies.keys() and base.ships_build_tools:
        draft.packages.append("openssl")  # Prisma's engine loads it; the slim image has none
    alone = bare(shipped, draft, workdir, packages)
    addons = sorted({addon.name for facts in packages.values() for addon in facts.addons})
    if addons and (alone or base.ships_build_tools):
        named = ", ".join(addons[:3])
        draft.reasons.append(f"{named}: compiled code, for which {draft.base} must hold every library that it loads")


def bare(shipped: Shipped, draft: Draft, workdir: str, packages: dict[str, NodeFacts]) -> bool:
    """Let ``draft`` run on an image of node alone where nothing in the repository speaks against it."""
    chosen = _candidate(shipped)
    if chosen is None or not _starts_node(shipped, draft) or not _needs_nothing(shipped, draft, workdir):
        return False
    if _overridden(shipped) or _starts_programs(shipped, packages):
        return False
    draft.says = draft.says.replace(draft.base, chosen)
    draft.base = chosen
    # node is this image's entrypoint: taken away, the command stays as the user wrote it
    draft.env += ["ENV PATH=/nodejs/bin:$PATH", "ENTRYPOINT []"]
    draft.reasons.append(
        f"{chosen} holds node and no shell: `docker exec … sh` and commands run by a shell do not work"
    )
    return True


def _candidate(shipped: Shipped) -> str | None:
    base, head = shipped.base, shipped.lineage[0]
    assert base is not None
    if not _PLAIN.fullmatch(head.base) or base.libc is not Libc.GLIBC or base.release not in _RELEASES:
        return None
    if head.platform or any({*build.platforms} - _PLATFORMS for build in shipped.site.builds):
        return None
    for name in base.runtime:
        facts = images.lookup(name)
        if facts is not None and facts.family == "distroless":
            return name
    return None


def _starts_node(shipped: Shipped, draft: Draft) -> bool:
    """Whether ``node FILE`` itself is what starts, in words that need no shell, written below all that builds."""
    said = shipped.start.command
    if shipped.start.entrypoint is not None or said is None or said.span.start < draft.last.span.start:
        return False
    words = draft.command or (list(said.words) if said.json else plain_words(said.value) or [])
    return len(words) > 1 and words[0] == "node"


def _needs_nothing(shipped: Shipped, draft: Draft, workdir: str) -> bool:
    """Whether the runtime stage runs nothing, checks nothing by a shell and names no account."""
    if any(found.name in ("SHELL", "HEALTHCHECK", "ONBUILD") for found in shipped.stage.body):
        return False
    if any(found.name == "RUN" and found.span.start > draft.last.span.start for found in shipped.stage.body):
        return False
    if draft.packages or runtime_packages(shipped)[0] or prepared(shipped, draft.last, workdir):
        return False
    accounts = [take.owner for take in draft.takes] + [
        account for found in shipped.stage.body for account in _accounts(found)
    ]
    return all(not account or _NUMBERS.fullmatch(account) for account in accounts)


def _accounts(found: Instruction) -> list[str]:
    if found.name == "USER":
        return [found.value.strip()]
    flag = found.flag("chown")
    return [flag.value or ""] if flag is not None else []


def _overridden(shipped: Shipped) -> bool:
    """Whether a Compose file of the repository says how a container starts or is checked."""
    for path in shipped.site.tree.entries():
        if not _COMPOSE.fullmatch(posixpath.basename(path)):
            continue
        try:
            text = shipped.site.read(path).decode("utf-8", "replace")
        except InputError:
            return True
        if _OVERRIDDEN.search(text):
            return True
    return False


def _starts_programs(shipped: Shipped, packages: dict[str, NodeFacts]) -> bool:
    """Whether the program, or a dependency known for it, starts other programs or loads libraries of the system."""
    if any(_STARTS_OTHERS & facts.dependencies.keys() for facts in packages.values()):
        return True
    files = [path for path in shipped.site.context_files() if _CODE.fullmatch(posixpath.basename(path))]
    if len(files) > _MOST_FILES:
        return True
    for path in files:
        try:
            if _PROGRAM.search(shipped.site.read(path)):
                return True
        except InputError:
            return True
    return False
