"""Random histories: Dockerfiles with every kind of step over small trees, edited the way people edit."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.engine.history_builds import File, Snapshot

BASE = "debian:bookworm-slim"
PATHS = ("a.txt", "b.txt", "docs/x.md", "docs/y.md", "src/main.c", "src/lib/util.c", "src/lib/util.h", "package.json")


class Author:
    """Writes the first commit and then one after another. ``nonce`` keeps its builds apart from all others."""

    def __init__(self, seed: int, nonce: str, *, stages: bool = True) -> None:
        self.dice = random.Random(seed)
        self.nonce = nonce
        self.stages = stages
        self.files: dict[str, File] = {path: ("100644", f"{path} 0".encode()) for path in PATHS}
        self.files["run.sh"] = ("100755", b"#!/bin/sh\n")
        self.files["link"] = ("120000", b"docs/x.md")
        self.ignore = ["docs/y.md"]
        self.lines = self._stages()

    def commits(self, count: int) -> Iterator[Snapshot]:
        for number in range(count):
            if number:
                for _ in range(self.dice.choice((1, 1, 1, 2))):
                    self._edit(number)
            snapshot = dict(self.files)
            snapshot["Dockerfile"] = ("100644", "\n".join(self.lines).encode() + b"\n")
            snapshot[".dockerignore"] = ("100644", "\n".join(self.ignore).encode() + b"\n")
            yield snapshot

    def _stages(self) -> list[str]:
        count = self.dice.choice((1, 2, 3)) if self.stages else 1
        lines: list[str] = []
        names: list[str] = []
        for number in range(count):
            base = self.dice.choice([BASE, BASE, *names])
            lines.append(f"FROM {base} AS s{number}")
            if base == BASE:
                lines.append(f"RUN : {self.nonce}{number if self.dice.random() < 0.5 else ''}")
            lines += [self._step(names) for _ in range(self.dice.randrange(2, 6))]
            if names:
                lines.append(self._across(names))
            # so that every stage has something that others may copy
            lines.append("RUN echo made >/made && mkdir -p /out && echo kept >/out/kept")
            names.append(f"s{number}")
        return lines

    def _across(self, names: list[str]) -> str:
        name = self.dice.choice(names)
        return self.dice.choice(
            (
                f"COPY --from={name} /made /from/{name}",
                f"COPY --from={name} /out /from/",
                f"COPY --link --from={name} /made /linked-{self.nonce}/",
                f"RUN --mount=type=bind,from={name},source=/out,target=/mnt/{name} ls /mnt/{name}",
            )
        )

    def _step(self, names: list[str]) -> str:
        dice = self.dice
        number = dice.randrange(100)
        steps = [
            "COPY . /all",
            "COPY src /s/",
            "COPY package.json a.txt /p/",
            "COPY docs/*.md /docs/",
            "COPY --chmod=600 b.txt /b",
            "COPY --chown=1:2 src/lib /lib2/",
            f"COPY --link src /l-{self.nonce}/",  # keyed on nothing below it, so other runs would hit
            "COPY link /followed",
            "COPY run.sh /usr/local/bin/",
            "COPY --exclude=*.h src/lib /nohead/",
            "COPY <<END /here\nline\nEND",
            "ADD src/main.c /added/",
            f"RUN echo {number}",
            "RUN --mount=type=cache,target=/root/.cache true",
            "RUN --mount=type=cache,id=x,target=/root/.cache,sharing=locked true",
            "RUN --mount=type=bind,source=package.json,target=/p.json cat /p.json",
            "RUN --mount=type=bind,target=/ctx --mount=type=secret,id=nothing ls /ctx",
            "RUN --mount=type=bind,source=src,target=/x --mount=type=bind,source=src/lib,target=/y ls /x",
            "RUN --network=none true",
            'RUN ["echo", "exec"]',
            f"RUN <<END\necho {number}\nEND",
            f"RUN <<END\n#!/bin/sh\necho {number}\nEND",
            f"RUN cat <<END >/f\n{number}\nEND",
            "WORKDIR /work",
            "WORKDIR deeper",
            f"ENV E{number % 3}={number}",
            f"ENV A=1 B=$E{number % 3}",
            f"ARG G{number % 2}={number}",
            "ARG UNSET",
            "ARG COMMIT",
            "ARG TARGETARCH",
            f"USER {dice.choice((0, 1, 'root'))}\nUSER 0",
            f"LABEL l={number}",
            'CMD ["x"]',
            "EXPOSE 80",
            'SHELL ["/bin/bash", "-c"]',
            "# a comment",
        ]
        if names:
            steps += [self._across(names)] * 4
        return dice.choice(steps)

    def _edit(self, number: int) -> None:
        dice = self.dice
        path = dice.choice(sorted(self.files))
        kind = dice.randrange(14)
        if kind < 5 and path != "link":
            # few contents, so that old states come back
            self.files[path] = (self.files[path][0], f"{path} {dice.randrange(3)}".encode())
        elif kind == 5:
            self.files[f"docs/new{number}.md"] = ("100644", b"new")
        elif kind == 6 and path.startswith("docs/new"):
            del self.files[path]
        elif kind == 7 and path.endswith(".txt"):
            mode, content = self.files[path]
            self.files[path] = ("100755" if mode == "100644" else "100644", content)
        elif kind == 8:
            self.files["link"] = ("120000", dice.choice((b"docs/x.md", b"a.txt", b"src/lib/util.c")))
        elif kind == 9:
            self.ignore = dice.choice(
                (["docs/y.md"], ["docs", "!docs/x.md"], ["**/*.md", "!docs/x.md"], ["Dockerfile", "b*", "!b.txt"])
            )
        elif kind == 10:
            self.files[f"skip{number}/only.md"] = ("100644", b"x")
        else:
            self._edit_dockerfile(number)

    def _edit_dockerfile(self, number: int) -> None:
        at = [index for index, line in enumerate(self.lines) if not line.startswith(("FROM", "RUN :", "RUN echo made"))]
        if not at:
            return
        index = self.dice.choice(at)
        stage = max((n for n, line in enumerate(self.lines[: index + 1]) if line.startswith("FROM")), default=0)
        names = [line.split()[-1] for line in self.lines[:stage] if line.startswith("FROM")]
        what = self.dice.randrange(4)
        if what == 0:
            self.lines.insert(index, self._step(names))
        elif what == 1:
            self.lines[index] = self._step(names)
        elif what == 2:
            del self.lines[index]
        else:
            self.lines.insert(index, f"# edited {number}")
