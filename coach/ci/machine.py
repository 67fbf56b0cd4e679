"""One CI job as its steps run: which builder is current, what was built, what was pushed and signed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from coach.ci import commands, docker_cli
from coach.ci.docker_cli import Invocation, Place
from coach.ci.nouns import Value
from coach.ci.runners import is_self_hosted
from coach.model import BuildSite, CacheRef, Tree, Unresolved

_LOCAL_TOOLS = frozenset(
    {"docker", "compose", "docker-compose", "podman", "buildah", "nerdctl", "podman-compose", "buildx", "bake"}
)


@dataclass(slots=True)
class Machine:
    """State of a job. ``path`` is the CI file; ``sites`` grows as steps are read."""

    tree: Tree
    system: str
    path: str
    job: str
    ci: bool = True
    runner: str = ""
    runner_line: int = 0
    driver: str = ""
    fresh: bool = False
    installed: bool = False
    keeps: str = ""
    keeps_line: int = 0
    emulation_line: int = 0
    emulation_path: str = ""
    notes: list[Unresolved] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    checkout: str = ""
    sites: list[BuildSite] = field(default_factory=list)
    signed: list[tuple[str, int, str]] = field(default_factory=list)
    attested: list[tuple[str, int, str]] = field(default_factory=list)
    kept_paths: list[str] = field(default_factory=list)
    thrown_away: bool = False
    hosted_engine: str = ""
    engine: int | None = None
    engine_line: int = 0
    engine_why: str = ""

    def place(self, path: str, line: int, end_line: int, cwd: str | None) -> Place:
        """A place in this job for a build that is written in ``path``."""
        notes = list(self.notes)
        keeps, keeps_line = self.keeps, self.keeps_line
        hosted = False if self.thrown_away else is_self_hosted(self.runner)
        if self.ci and not keeps and hosted is not False and self.runner:
            if hosted and not self.fresh:
                keeps, keeps_line = f"the self-hosted runner ({self.runner})", self.runner_line
                notes.append(
                    Unresolved(
                        "keeps_cache",
                        "a self-hosted runner keeps its cache only while its disk lives",
                        self.runner_line,
                    )
                )
            elif hosted is None and not self.fresh:
                notes.append(
                    Unresolved(
                        "keeps_cache", f"the runner {self.runner} may or may not keep its disk", self.runner_line
                    )
                )
        here = path == self.path
        return Place(
            self.tree,
            self.system,
            path,
            line,
            end_line,
            self.job,
            self.ci,
            cwd,
            self.driver,
            "install" if self.installed else "",
            self.runner,
            self.runner_line if here else 0,
            self.emulation_line if self.emulation_path in ("", path) else 0,
            keeps,
            keeps_line if here else 0,
            tuple(notes),
            self.foreign,
            self.checkout,
        )

    def add(self, sites: list[BuildSite], called_from: str = "", called_line: int = 0) -> None:
        """Take in what a step builds."""
        for site in sites:
            if site.buildkit is None and site.tool in ("docker", "docker-compose") and (self.engine or 23) < 23:
                # docs.docker.com/build/buildkit: the default builder since Engine 23.0
                site = replace(site, buildkit=False, buildkit_line=self.engine_line, buildkit_why=self.engine_why)
            if site.buildkit is None and site.tool == "docker" and not site.buildkit_why and self.hosted_engine:
                site = replace(site, buildkit=True, buildkit_line=site.line, buildkit_why=self.hosted_engine)
            if called_from and called_from != site.path:
                site = replace(site, called_from=called_from, called_line=called_line)
            local = [ref for ref in site.cache_to if ref.type == "local"]
            if (
                local
                and len(local) == len(site.cache_to)
                and not self._kept(local)
                and is_self_hosted(self.runner) is False
            ):
                site = replace(
                    site,
                    unresolved=(
                        *site.unresolved,
                        Unresolved(
                            "cache_local",
                            "the cache is written to the runner's own disk, and nothing keeps it",
                            local[0].line,
                        ),
                    ),
                )
            self.sites.append(site)

    def _kept(self, refs: list[CacheRef]) -> bool:
        for ref in refs:
            dest = ref.attrs.get("dest", "").rstrip("/")
            base = dest.removesuffix("-new")
            if any(
                base and (kept.rstrip("/") in (dest, base) or base.startswith(kept.rstrip("/") + "/"))
                for kept in self.kept_paths
            ):
                return True
        return False

    def run(
        self,
        text: commands.Text,
        place_at: Callable[[int], tuple[str, int]],
        called_from: str = "",
        called_line: int = 0,
        follow: bool = True,
    ) -> None:
        """Read one piece of shell text; ``place_at`` maps an offset in the text as written to a file and its line."""
        for call in commands.calls(self.tree, text, follow):
            inner = call.path != ""
            if inner:
                where, line, end_line, lines = call.path, call.line, call.end_line, call.lines
            else:
                where, line = place_at(call.at)
                end_line = place_at(max(call.at, call.till - 1))[1]
                origin = text.source.origin
                lines = {part.start: place_at(origin(part.start))[1] for part in call.invocation.parts}
            caller, caller_line = (called_from, called_line) if called_from else ("", 0)
            if inner:
                path, at = place_at(call.at)
                caller, caller_line = (called_from or path), (called_line or at)
            self.take(call.invocation, call.env, call.cwd, where, line, end_line, lines, caller, caller_line)

    def take(
        self,
        call: Invocation,
        env: Mapping[str, Value],
        cwd: str | None,
        path: str,
        line: int,
        end_line: int,
        lines: Mapping[int, int],
        called_from: str = "",
        called_line: int = 0,
    ) -> None:
        """What one command does to this job."""
        if call.verb == "emulate":
            self.emulation_line, self.emulation_path = line, path
        elif call.verb == "create":
            driver = call.last("driver")
            named = driver.value.value.text if driver is not None and driver.value is not None else None
            self.driver, self.fresh = named or "docker-container", True
            self._managed(named or "", path, line)
        elif call.verb == "use":
            if call.positionals and (call.positionals[-1].value.text or "").startswith("cloud-"):
                self.driver = "cloud"
                self._managed("cloud", path, line)
        elif call.verb in ("push", "compose-push"):
            self.pushed(call, path, line)
        elif call.verb == "sign":
            self.signed.append((path, line, _subject(call)))
        elif call.verb == "attest":
            self.attested.append((path, line, "cosign attest"))
        elif call.verb == "compose":
            from coach.ci import compose

            self.add(compose.called(self.place(path, line, end_line, cwd), call, env, lines), called_from, called_line)
        elif call.verb == "bake":
            from coach.ci import bake

            self.add(
                bake.from_command(self.place(path, line, end_line, cwd), call, env, lines), called_from, called_line
            )
        elif call.verb == "build":
            place = self.place(path, line, end_line, cwd)
            builder = call.last("builder")
            name = builder.value.value.text if builder is not None and builder.value is not None else None
            if name and name.startswith("cloud-"):
                place.driver = "cloud"
            self.add([docker_cli.site(place, call, lines, env)], called_from, called_line)

    def _managed(self, driver: str, path: str, line: int) -> None:
        if driver in docker_cli.DRIVERS_THAT_KEEP:
            self.keeps, self.keeps_line = docker_cli.DRIVERS_THAT_KEEP[driver], line if path == self.path else 0

    def pushed(self, call: Invocation, path: str, line: int) -> None:
        """A push after the build: it sends what was built before it, where the names do not say otherwise."""
        names = [arg.value.text for arg in call.positionals]
        for index, site in enumerate(self.sites):
            if site.push or site.tool not in _LOCAL_TOOLS:
                continue
            if names and None not in names and site.tags and not any("$" in tag or "{" in tag for tag in site.tags):
                pushed = {_repository(name) for name in names if name}
                if not pushed & {_repository(tag) for tag in site.tags} and not any("$" in name for name in pushed):
                    continue
            self.sites[index] = replace(site, push=True, push_line=line if path == site.path else 0)

    def finish(self) -> list[BuildSite]:
        """The sites with what the job did about signing after them."""
        return sign_off(self.sites, self.signed, self.attested)


def sign_off(
    sites: list[BuildSite], signed: list[tuple[str, int, str]], attested: list[tuple[str, int, str]]
) -> list[BuildSite]:
    """``sites`` with the signature that covers each, as far as image names tell them apart."""
    found = []
    for site in sites:
        covering = [(path, line) for path, line, subject in signed if _covers(subject, site.tags)]
        if covering and not site.signed_line:
            # the nearest one below the build in the same file, else whichever comes first
            below = [place for place in covering if place[0] == site.path and place[1] > site.line]
            path, line = below[0] if below else covering[0]
            site = replace(site, signed_line=line, signed_path="" if path == site.path else path)
        for path, line, why in attested:
            if not site.attested_line:
                site = replace(
                    site, attested_line=line, attested_why=why, attested_path="" if path == site.path else path
                )
        found.append(site)
    return found


def _covers(subject: str, tags: tuple[str, ...]) -> bool:
    if not subject or not tags or "$" in subject or "{" in subject or any("$" in tag or "{" in tag for tag in tags):
        return True
    return _repository(subject) in {_repository(tag) for tag in tags}


def _repository(reference: str) -> str:
    reference = reference.split("@", 1)[0]
    head, slash, tail = reference.rpartition("/")
    return f"{head}{slash}{tail.split(':', 1)[0]}"


def _subject(call: Invocation) -> str:
    return call.positionals[-1].value.shown if call.positionals else ""
