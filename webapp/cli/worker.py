"""`worker`: runs background jobs in the foreground."""

import signal
from types import FrameType

import click

from webapp.cli.output import command
from webapp.runtime.job_worker import CONCURRENCY, JobWorker


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 32), default=CONCURRENCY, show_default=True, help="Jobs that run at the same time.")
@click.option("--once", is_flag=True, help="Run the jobs that wait, then end.")
@command
def worker(concurrency: int, once: bool) -> None:
    """Run background jobs until Ctrl-C or SIGTERM. Current chunks finish first. Several workers can run, also on several hosts."""
    job_worker = JobWorker(concurrency=concurrency)
    _stop_on_signals(job_worker)
    if once:
        count = job_worker.run_pending()
        click.echo(f"{count:,} job{'' if count == 1 else 's'} run.")
    else:
        click.echo("The job worker runs. Stop it with Ctrl-C.")
        job_worker.run()


def _stop_on_signals(job_worker: JobWorker) -> None:
    def stop(_: int, __: FrameType | None) -> None:
        job_worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
