"""How fast the human study is: the next item at the server, and the aggregation of a whole study.

python -m benchmarks.rating_speed    10 methods x 219 samples at 512 px, 4 raters; takes about two minutes
"""

import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmark.commands.rating_study import open_study
from benchmark.human_ratings import aggregate_ratings
from benchmark.records import EditRecord
from benchmark.runs import Run
from reason_edit.files import file_sha256
from reason_edit.rating.returns import read_returns
from reason_edit.rating.store import Store, Vote
from reason_edit.rating.study import Answer
from reason_edit.schema import PAPER_CATEGORIES, EditSample
from reason_edit.tables import write_rows

METHODS, SAMPLES, RATERS, SIDE = 10, 219, 4, 512


def write_run(folder: Path) -> Run:
    """A run of the paper's size; pictures are smooth noise, which compresses as badly as photographs do."""
    generator = np.random.default_rng(0)

    def picture(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, compress_level=1)

    run, rows, records = Run(folder), [], []
    stock = [folder / "stock" / f"{i}.png" for i in range(60)]
    for path in stock:
        picture(path)
    for i in range(SAMPLES):
        category = PAPER_CATEGORIES[i % len(PAPER_CATEGORIES)]
        sample_id, source = f"{category.value}/{i:03d}", stock[i % 30]
        rows.append(
            EditSample(
                sample_id=sample_id,
                category=category,
                instruction=f"edit {i}",
                target_label="x",
                image=source,
                mask=source,
            )
        )
        for m in range(METHODS):
            path = stock[30 + (i + m) % 30]
            records.append(
                EditRecord(
                    method=f"m{m}",
                    sample_id=sample_id,
                    image=path.relative_to(folder).as_posix(),
                    image_sha256=file_sha256(path),
                    seed=0,
                    response=None,
                    error=None,
                )
            )
    run.write_settings({"methods": {f"m{m}": {} for m in range(METHODS)}})
    run.write_samples(rows)
    write_rows(run.edits_path, records, EditRecord)
    return run


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure_server(run: Run) -> None:
    from tests.reason_edit.rating.drawn_run import serve

    served = serve(run.folder, "--raters", "51")

    def rate(link: str, turns: int, spent: dict[str, list[float]]) -> None:
        with httpx.Client(timeout=60) as client:
            for turn in range(turns):
                start = time.perf_counter()
                state = client.get(link + "items/next").json()
                spent["item"].append(time.perf_counter() - start)
                start = time.perf_counter()
                client.get(link + state["source"])
                client.get(link + state["edited"])
                spent["both pictures"].append(time.perf_counter() - start)
                body = {"item": state["item"], "answer": "not", "believed": None, "seconds": 1, "nonce": f"{turn:032x}"}
                start = time.perf_counter()
                client.post(link + "answers", json=body).raise_for_status()
                spent["answer on disk"].append(time.perf_counter() - start)

    alone: dict[str, list[float]] = {"item": [], "both pictures": [], "answer on disk": []}
    links = list(served.links.values())
    rate(links[0], 100, alone)
    for name, values in alone.items():
        middle, most, all_ = (1e3 * v for v in (statistics.median(values), percentile(values, 0.95), max(values)))
        print(f"1 rater, {name}: median {middle:.1f} ms, 95 % {most:.1f} ms, slowest {all_:.1f} ms")
    together: dict[str, list[float]] = {"item": [], "both pictures": [], "answer on disk": []}
    threads = [threading.Thread(target=rate, args=(link, 4, together)) for link in links[1:]]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    print(f"50 raters without a pause: {200 / seconds:.1f} answers/s in all, {seconds:.1f} s")
    for name, values in together.items():
        print(
            f"  {name}: median {1e3 * statistics.median(values):.0f} ms, 95 % {1e3 * percentile(values, 0.95):.0f} ms"
        )
    served.kill()


def measure_aggregation(run: Run) -> None:
    location = str(run.folder / "aggregate.sqlite")
    start = time.perf_counter()
    opened = open_study([run.folder], location, names=[f"r{i}" for i in range(RATERS)])
    print(f"beginning a study of {len(opened.store.items())} items: {time.perf_counter() - start:.2f} s")
    generator = np.random.default_rng(1)
    for rater in range(RATERS):
        votes = [
            Vote(
                item=k.number,
                answer=Answer.ALIGNED if generator.random() < 0.7 else Answer.NOT_ALIGNED,
                seconds=3.0,
                nonce=f"{k.number:032x}",
                answered_at="2026-01-01T00:00:00.000+00:00",
            )
            for k in opened.store.items()
        ]
        opened.store.take_in(rater, votes)
    start, used = time.perf_counter(), time.process_time()
    returns = read_returns(Store.open(location))
    read = time.perf_counter() - start
    result = aggregate_ratings([run], returns, resamples=2000)
    seconds = time.perf_counter() - start
    print(
        f"aggregation of {len(returns.ratings)} votes, {result.resamples} draws, {len(result.comparisons)} tests: "
        f"{seconds:.2f} s ({time.process_time() - used:.2f} s of processor time), of which reading {read:.2f} s"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = write_run(Path(folder) / "run")
        measure_aggregation(made)
        measure_server(made)
