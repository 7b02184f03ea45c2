"""What the service counts, for /metrics; names are the log lines' and the errors' too."""

from prometheus_client import Counter, Gauge, Histogram

CALLBACKS = Counter("siyu_callbacks_total", "Callbacks by app and what became of them", ["app", "outcome"])
TURNS = Counter("siyu_turns_total", "Inbound kf messages by how they ended", ["outcome"])
MENTIONS = Counter("siyu_mentions_total", "Messages to AI bots by how they ended", ["outcome"])
ARCHIVED = Counter("siyu_archived_total", "Records read from the chat archive by kind", ["kind"])
PULLED = Counter("siyu_kf_pulled_total", "New kf messages pulled", ["open_kfid"])
SENDS = Counter("siyu_sends_total", "Messages on their way out by lane and how the try ended", ["lane", "outcome"])
SEND_SECONDS = Histogram(
    "siyu_send_seconds",
    "From the deciding transaction to WeCom's acceptance",
    ["lane"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
ALERTS = Counter("siyu_alerts_total", "What somebody should look at, by kind", ["kind"])
LOOPS_FAILED = Counter("siyu_loop_failures_total", "Background loops that stumbled and were started again", ["loop"])
ARTICLES = Gauge("siyu_faq_articles", "Published FAQ articles")
FAQ = Counter("siyu_faq_total", "Questions by what the matcher decided", ["decision"])
