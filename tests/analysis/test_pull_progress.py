from analysis.pull_progress import describe
from analysis.puller import Progress
from config.prices import Prices, load_prices


def test_rows_bytes_and_their_price_are_said() -> None:
    progress = Progress(rows=1_234_567, bytes_scanned=812_500_000, waiting_s=12.0)
    assert describe(progress, load_prices("us-east-1")) == (
        "1,234,567 rows, 812.5 MB scanned (0.0041 USD), waiting 12 s for logs to appear"
    )


def test_what_is_not_known_is_not_said() -> None:
    assert describe(Progress(rows=3), load_prices("us-east-1")) == "3 rows"
    assert describe(Progress(rows=3, bytes_scanned=1_000_000), Prices(region="nowhere")) == "3 rows, 1.0 MB scanned"
