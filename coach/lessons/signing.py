"""Is an image pushed unsigned?"""

from __future__ import annotations

import re

from coach import ci
from coach.ci.nouns import Sign
from coach.model import Answer, BuildSite, Evidence, Remedy, Safety, certain, is_file, likely, unknown
from coach.remedies import joined
from coach.site import Site

NODE = "signing"
FIX = "F13"
SECTION = "Image signing with cosign"
ANTI_PATTERN = "Pushing unsigned images"


def probe(site: Site) -> Answer:
    """``yes`` when CI pushes the image and neither signs it with cosign nor attests it with a signature."""
    pushed = [build for build in site.ci_builds if build.push and not _local(build)]
    bare = [build for build in pushed if not _signed(build)]
    hidden = [
        build for build in site.ci_builds if not _signed(build) and (build.unsure("signed") or build.unsure("push"))
    ]
    sure = [build for build in bare if build not in hidden]
    signed = [build for build in pushed if _signed(build)]
    if sure and signed:
        evidence = [_signature(site, build) for build in signed]
        evidence += [
            site.cite(build.push_line or build.line, f"job {build.job} pushes unsigned", path=build.path)
            for build in sure
        ]
        reason = f"{signed[0].path} signs what it pushes; {sure[0].path} pushes other images unsigned"
        return likely("no", reason, *dict.fromkeys(evidence))
    if sure:
        evidence = [
            site.cite(build.push_line or build.line, f"job {build.job} pushes, and nothing signs it", path=build.path)
            for build in sure
        ]
        why = f"{sure[0].path} pushes an image that nothing signs"
        why += f"; {sure[0].attested_why}" if sure[0].attested_why else ""
        elsewhere = _mention(site, {build.path for build in sure})
        if elsewhere is not None:
            return likely("yes", why, *dict.fromkeys([*evidence, elsewhere]))
        return certain("yes", why, *dict.fromkeys(evidence))
    if hidden:
        build = hidden[0]
        note = build.unsure("signed") or build.unsure("push")
        assert note is not None
        return unknown(
            note.reason,
            "run `cosign verify` on a pushed image, or look for a signing step where the push is written",
            site.cite(note.line or build.line, "builds this file", path=build.path),
        )
    maybe = [build for build in site.ci_builds if build.push is None and not _signed(build) and build.tags]
    if maybe and not pushed:
        build = maybe[0]
        where = site.cite(build.line, "builds and tags the image; no push of it was seen", path=build.path)
        return likely("no", "no push of this image was found in CI", where)
    if not pushed:
        where = site.cite(site.final.head.line, "no CI configuration here pushes this image")
        return certain("no", "CI pushes no image of this file", where)
    return certain("no", "what is pushed is signed", *dict.fromkeys(_signature(site, build) for build in pushed))


def _mention(site: Site, but: set[str]) -> Evidence | None:
    """Another CI file that speaks of signing: it may sign what this one pushes."""
    for path in site.tree.entries():
        if path in but or not re.match(
            r"(\.github/|\.gitea/|\.forgejo/|\.circleci/|\.gitlab|ci/|Jenkinsfile|azure-)", path
        ):
            continue
        if not path.endswith((".yml", ".yaml", ".sh")) and "Jenkinsfile" not in path:
            continue
        if not is_file(site.tree, path):
            continue
        match = re.search(rb"\b(cosign|notation) sign\b|actions/attest|slsa-github-generator", site.tree.read(path))
        if match is not None:
            line = site.tree.read(path).count(b"\n", 0, match.start()) + 1
            return site.cite(line, "signs images too, maybe this one", path=path)
    return None


def _local(build: BuildSite) -> bool:
    """Whether a push goes to a registry that lives and dies with the job."""
    return bool(build.tags) and all(
        re.match(r"(localhost|127\.0\.0\.1|registry|kind-registry)(:\d+)/|ttl\.sh/", tag) for tag in build.tags
    )


def _signature(site: Site, build: BuildSite) -> Evidence:
    if build.signed_line:
        return site.cite(build.signed_line, "signs the image", path=build.signed_path or build.path)
    says = build.attested_why or "attests the image"
    return site.cite(build.attested_line, says, path=build.attested_path or build.path)


def _signed(build: BuildSite) -> bool:
    return bool(build.signed_line or build.attested_line)


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Add the signing step, with the permission it needs, to every job that pushes."""
    if answer.choice != "yes":
        return None
    bare = [build for build in site.ci_builds if build.push and not _signed(build) and not _local(build)]
    if not bare:
        return Remedy(
            Safety.SHOW,
            reasons=("no push was found",),
            guidance='`cosign sign --yes "<image>@<digest>"` after the push.',
        )
    return joined(ci.change(site.tree, build, Sign()) for build in bare)
