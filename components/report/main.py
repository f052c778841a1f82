"""`fibstack-report`: prove that the volume is complete, publish it, and say how the run went."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import click

from components.report.console_artifacts import Console
from components.report.gather import Pictures, RunEvidence, gather, read_plan
from components.report.origin import is_solved
from components.report.page.cards import CardMaker
from components.report.page.page import refused_page, render
from components.report.page.sections import SectionPair, make_sections
from components.report.run_document import PAGE_KEY, RUN_KEY, PlaneMotion, RunDocument
from components.report.run_status import RunStatus, beside_another, other_settings, parse_status
from components.report.telling import tell
from components.report.tiles_removal import remove_tiles
from components.report.words.bad_slices import breaks_of, slices_on_cards
from components.report.words.notice import Notice, notice_of, notice_of_stub, notice_without_work
from components.report.words.run_verdict import is_held_back
from components.report.words.summary import summarise
from components.shared.command import StepCommand
from components.shared.documents.config import RunConfig
from components.shared.documents.config_flags import config_flags
from components.shared.documents.cost import Pod, parse_pods
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.documents.sealed import sealed_page
from components.shared.errors import TransientError, UserError
from components.shared.steps import PROCESSES, STUB_DESCRIPTION
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store, join_uri
from components.shared.stub.program import or_stub
from components.shared.volume.volume import Volume, volume_of
from components.shared.work.completeness import Block, Fault, check_blocks, check_overwritten
from components.shared.work.publication import publish, withdraw, withdraw_unwritten
from components.shared.work.records import outputs_present
from components.shared.work.refusal import Refusal, settings_hash, standing_refusal
from components.shared.work.run import Run
from components.shared.work.superseded import SUPERSEDED_KEY, remove_superseded, waiting_files
from components.shared.work.verification import Verification, hash_of, is_untouched, read_blocks, verify

logger = logging.getLogger(__name__)


def _tell_of_stub(given: Mapping[str, Any]) -> None:
    """Tell who is told of a run, in words that say that this is a test, and show the same in the console.

    Raises:
        UserError: somebody could not be told.
    """
    notice = notice_of_stub(given["output"])
    Console(given["page_out"], given["markdown_out"], given["executor_input"]).show_refused(notice.text)
    untold = tell(notice, given["email"], given["webhook"], os.environ)
    if untold:
        raise UserError(f"the end of a run must reach who is to be told; got {'; '.join(untold)}")


@click.command(cls=StepCommand)
@click.option("--output", required=True, help="gs:// or s3:// URI, or folder that receives the results.")
@click.option("--email", default="", help=RunConfig.model_fields["email"].description)
@click.option("--webhook", default="", help=RunConfig.model_fields["webhook"].description)
@config_flags(required=False, without=("output", "email", "webhook"))
@click.option("--pods", default="", help="JSON of each step's image and machine.")
@click.option(
    "--status", required=True, help="How the steps before ended: KFP's final status, or Argo's word."
)
@click.option("--page-out", default="", help="File that receives the report, for KFP's console.")
@click.option("--markdown-out", default="", help="File that receives a few lines, for KFP's console.")
@click.option("--executor-input", default="", help="JSON that says where KFP collects figures.")
@click.option("--stub", default="", help=STUB_DESCRIPTION)
@or_stub("report", _tell_of_stub)
def main(
    output: str,
    email: str,
    webhook: str,
    pods: str,
    status: str,
    page_out: str,
    markdown_out: str,
    executor_input: str,
    **fields: str | None,
) -> None:
    """Prove that the volume is complete, publish it, and say how the run went; also after a failure."""
    flags = {"output": output, "email": email, "webhook": webhook, **fields}
    run = EndedRun(
        output,
        open_store(part_uri(output, "process")),
        parse_status(status),
        Console(page_out, markdown_out, executor_input),
        partial(tell, email=email, webhook=webhook, environment=os.environ),
    )
    refusal = _refusal(run, flags)
    plan = _plan_beside(refusal, run.process) if refusal is not None else read_plan(run.process)
    other = other_settings(flags, plan.config) if plan is not None else ""
    if plan is None or (other and refusal is not None and refusal.step == "plan"):
        _end_without_plan(run, refusal)
    elif other:
        _end_beside(run, other)
    else:
        _end_with_plan(run, plan, refusal, parse_pods(pods) if pods else {})


@dataclass(frozen=True, slots=True)
class EndedRun:
    """The run that is reported on: where it has written, how its engine says that it ended, and who hears."""

    output: str
    process: Store
    status: RunStatus
    console: Console
    tell: Callable[[Notice], object]


def _refusal(run: EndedRun, flags: Mapping[str, str | None]) -> Refusal | None:
    """Why `plan` or `compose` has refused this run; None where neither has."""
    if run.status.state == "succeeded":
        return None
    return standing_refusal(run.process, settings_hash(flags) if flags.get("source") is not None else "")


def _plan_beside(refusal: Refusal, process: Store) -> Plan | None:
    """The plan in the output of a run that was refused; None where `plan` has refused it for that plan."""
    try:
        return read_plan(process)
    except UserError:
        if refusal.step == "plan":
            return None
        raise


def _end_without_plan(run: EndedRun, refusal: Refusal | None) -> None:
    """End the report of a run that has no plan: say why, where that is known; what is in the output stays.

    Raises:
        UserError: the run was refused, and nothing else shows it as failed.
    """
    if refusal is None:
        uri = run.process.uri
        logger.info("no plan in %s: the input was refused, so there is nothing to report", uri)
        told = run.status
    else:
        logger.info("%s", refusal.sentence)
        told = RunStatus("failed", refusal.sentence)
    notice = notice_without_work(run.output, told)
    if refusal is not None and run.process.stat(PLAN_KEY) is None:
        run.process.write(PAGE_KEY, sealed_page(refused_page(notice.text)))
    run.console.show_refused(notice.text)
    run.tell(notice)
    if refusal is not None and not run.status.is_shown_as_failed(is_undone=True):
        raise UserError(refusal.sentence)


def _end_beside(run: EndedRun, other: str) -> None:
    """End the report of a run in whose output another run's plan lies: what is there is not for it to judge.

    Args:
        run: The run.
        other: What the other plan has otherwise.

    Raises:
        UserError: the run has not surely failed before; it must not seem to have made what is there.
    """
    logger.warning("nothing was changed in %s: the plan there is of another run", run.output)
    if run.status.has_surely_failed:
        run.tell(notice_without_work(run.output, run.status))
        return
    error = UserError(beside_another(other, run.output))
    run.tell(notice_without_work(run.output, RunStatus("failed", str(error))))
    raise error


def _end_beside_volume(run: EndedRun, told: RunStatus) -> None:
    """End the report of a run that has changed nothing of an earlier one, whose volume and page stand.

    Raises:
        UserError: nothing else shows the run as failed.
    """
    logger.warning("nothing was changed in %s: the report there is of the run before", run.output)
    notice = notice_without_work(run.output, told)
    run.console.show_refused(notice.text)
    run.tell(notice)
    if not run.status.is_shown_as_failed(is_undone=True):
        raise UserError(told.error)


def _end_with_plan(run: EndedRun, plan: Plan, refusal: Refusal | None, pods: dict[str, Pod]) -> None:
    """Judge what the run has left, publish a volume that is whole, and write and tell how the run went.

    Raises:
        UserError: the volume is not complete, and nothing else shows the run as failed.
        TransientError: likewise; the same run again mends it.
    """
    process, planned = run.process, run.process.stat(PLAN_KEY)
    evidence = gather(process, plan, by_records=run.status.state != "succeeded")
    evidence.pods, evidence.as_processes = pods, PROCESSES in os.environ
    volume = volume_of(plan, evidence.transforms) if evidence.transforms else None
    told = run.status
    if refusal is not None:
        told = RunStatus("failed", refusal.sentence, by_kfp=run.status.by_kfp, is_final=True)
    if told.has_surely_failed and stands(evidence, volume, process):
        _end_beside_volume(run, told)
        return
    verification = look_at(evidence, volume, run.status, process)
    if process.stat(PLAN_KEY) != planned and read_plan(process) != plan:
        _end_beside(run, "one that was written in the meantime")
        return
    verification, motion = _with_motion(evidence, volume, verification, process)
    document = write_page(evidence, told, volume, verification, process, motion)
    whole = volume if document.complete else None
    if whole is not None:
        _publish(whole, plan)
    else:
        document = document.model_copy(update={"published_hash": published_hash(process)})
    process.write(RUN_KEY, document.to_json())
    run.console.show(document, evidence, process)
    for sentence in document.summary:
        logger.info("%s", sentence)
    if whole is not None and not plan.config.keep_tiles:
        logger.info("removed %d files of aligned tiles", remove_tiles(plan, whole, process))
    run.tell(notice_of(document))
    is_undone = (
        refusal is not None
        or is_held_back(evidence, run.status)
        or any(problem.is_undone for problem in verification.problems)
    )
    if whole is None and not run.status.is_shown_as_failed(is_undone=is_undone):
        problems = verification.problems
        raise incomplete(problems, run.output) if problems else UserError(document.error)


def _publish(volume: Volume, plan: Plan) -> None:
    publish(volume)
    for uri in withdraw_unwritten(volume, plan.locations):
        logger.warning("%s is of an earlier run and no longer shown; remove it if it is not needed", uri)


def look_at(evidence: RunEvidence, volume: Volume | None, status: RunStatus, process: Store) -> Verification:
    """Verify the volume, whatever the engine says of the run, and withdraw an `info` that is no longer true.

    A viewer takes `info` for the promise of a whole volume. An earlier run's `info` therefore goes when
    shards of this run have begun to take the place of that run's; it stays while that volume is untouched.
    """
    if volume is None or evidence.transforms is None:
        problem = Fault(
            "the slices have no transforms, so there is no volume",
            cured_by_retry=True,
            is_undone=not is_solved(evidence.plan, process),
        )
        return Verification((problem,) if not status.has_surely_failed else (), ())
    run = Run.of(process, evidence.plan, evidence.transforms)
    blocks = read_blocks(run)
    if _may_remove_superseded(run, blocks):
        n_removed = remove_superseded(run)
        if n_removed:
            logger.info("removed %d files of earlier volumes, which this one has no use for", n_removed)
    earlier = earlier_run(process)
    has_opened = earlier is not None and hash_of(blocks) == earlier.volume_hash
    verification = verify(volume, blocks, has_opened=has_opened)
    if verification.problems and not is_untouched(blocks, published_hash(process)):
        for uri in withdraw(volume):
            logger.warning("withdrew the info of %s: it no longer holds one whole volume", uri)
    if status.state != "succeeded" and evidence.preview is None and not evidence.plan.config.force:
        unchecked = Fault(
            "the check on thumbnails has not been made of these slices", cured_by_retry=True, is_undone=True
        )
        return replace(verification, problems=(*verification.problems, unchecked))
    return verification


def _with_motion(
    evidence: RunEvidence, volume: Volume | None, verification: Verification, process: Store
) -> tuple[Verification, tuple[PlaneMotion, ...]]:
    """The motion of a whole volume's planes, which an earlier run may have told of the same volume.

    A chunk that does not decode is a fault of the volume.
    """
    if volume is None or evidence.transforms is None or verification.problems:
        return verification, ()
    earlier = earlier_run(process)
    if earlier is not None and earlier.volume_hash == verification.volume_hash:
        return verification, earlier.motion
    # Imported here: a volume that an earlier run has looked at is told without it.
    from components.report.image_axes.middle import motion_of_middle

    try:
        return verification, motion_of_middle(evidence.plan, volume, evidence.transforms)
    except ValueError as error:
        return replace(verification, problems=(Fault(str(error), cured_by_retry=False),)), ()


def _may_remove_superseded(run: Run, blocks: list[Block]) -> bool:
    """True where files of earlier volumes wait for their removal and the volume of this run is whole.

    Every block is done then, all that the blocks have written lies there, and the plan is still this run's.
    """
    if run.process.stat(SUPERSEDED_KEY) is None or check_blocks(blocks) or check_overwritten(blocks):
        return False
    if not waiting_files(run):
        return True  # the note goes, and no file with it
    written = [block.record.outputs for block in blocks if block.record is not None]
    return all(in_parallel(outputs_present, written)) and read_plan(run.process) == run.plan


def earlier_run(process: Store) -> RunDocument | None:
    """The document of the earlier run that proved and published the volume; None where there is none."""
    run = _last_run(process)
    return run if run is not None and run.complete else None


def published_hash(process: Store) -> str:
    """Hash of the volume that was published last, however the runs since have ended; empty if not known."""
    run = _last_run(process)
    if run is None:
        return ""
    return run.volume_hash if run.complete else run.published_hash


def _last_run(process: Store) -> RunDocument | None:
    try:
        return read_document(process, RUN_KEY, RunDocument)
    except UserError:  # there is none, or it is of another version
        return None


def stands(evidence: RunEvidence, volume: Volume | None, process: Store) -> bool:
    """True where plan and volume are those of an earlier run, so that its report is still true."""
    earlier = earlier_run(process)
    if earlier is None or volume is None or evidence.transforms is None:
        return False
    if earlier.plan_crc32c != evidence.plan.crc32c:
        return False
    blocks = read_blocks(Run.of(process, evidence.plan, evidence.transforms))
    return hash_of(blocks) == earlier.volume_hash and not verify(volume, blocks, has_opened=True).problems


def write_page(
    evidence: RunEvidence,
    status: RunStatus,
    volume: Volume | None,
    verification: Verification,
    process: Store,
    motion: tuple[PlaneMotion, ...] = (),
) -> RunDocument:
    """Write `report/index.html`; returns the run document that it shows."""
    maker = CardMaker(evidence.plan, evidence.transforms, slices_on_cards(evidence), breaks_of(evidence))
    pictures = Pictures(process, evidence, maker.wanted, maker.keep)
    sections: list[SectionPair] = []
    if evidence.transforms is not None:
        sections = make_sections(evidence.plan, evidence.transforms, evidence.rows, pictures.pass_by)
    else:
        for _ in pictures.pass_by(frozenset()):
            pass
    cards, breaks = list(maker.cards()), list(maker.breaks())
    run = summarise(evidence, status, volume, verification, motion)
    process.write(PAGE_KEY, sealed_page(render(run, evidence, sections, cards, breaks)))
    logger.info("the report lies in %s/%s", process.uri, PAGE_KEY)
    return run


def incomplete(problems: tuple[Fault, ...], output: str) -> UserError | TransientError:
    """The error of a run that ended without a whole volume."""
    first = "; ".join(problem.sentence for problem in problems[:2])
    report = join_uri(part_uri(output, "process"), "report", "index.html")
    what = f"the volume must be complete; {first}. The report is {report}."
    if any(problem.cured_by_retry for problem in problems):  # files in the way may go once all is made
        return TransientError(f"{what} Start the run again: only what is missing is made.")
    return UserError(f"{what} Remove these files and start the run again.")


if __name__ == "__main__":
    main()
