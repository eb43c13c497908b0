package httpapi

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector publishes the numbers of Status, so that a scrape and `holdfast
// status` can never disagree.
type collector struct{ admin Admin }

var _ prometheus.Collector = collector{}

var (
	perStream = []string{"stream"}
	perSink   = []string{"stream", "sink"}

	descConnections = desc("connections", "Client connections of all doors.", nil)
	descResident    = desc("memory_resident_bytes", "Resident memory of the server's process.", nil)
	descPeak        = desc("memory_peak_resident_bytes", "The most resident memory that the server's process ever had.", nil)
	descStarted     = desc("start_time_seconds", "When the server started, Unix time.", nil)

	descFirst    = desc("stream_first_seq", "Oldest row still stored.", perStream)
	descEnd      = desc("stream_end_seq", "Last row that readers see.", perStream)
	descSegments = desc("stream_segments", "Segments.", perStream)
	descBytes    = desc("stream_size_bytes", "Every file of the stream, reservations included.", perStream)
	descLimit    = desc("stream_limit_bytes", "Budget of the stream; 0 where only min_free bounds it.", perStream)
	descFree     = desc("stream_free_bytes", "Bytes free on the stream's volume.", perStream)
	descOK       = desc("stream_ok", "1 while the stream takes rows.", perStream)
	descDamaged  = desc("stream_damaged_places", "Places found damaged since the start.", perStream)

	descGaps     = desc("stream_gaps", "Ranges of rows given up by repair that readers still meet.", perStream)
	descGapRows  = desc("stream_gap_rows", "Rows in them.", perStream)
	descScrubbed = desc("stream_scrub_bytes_total", "Bytes of sealed segments read again by the scrubber.", perStream)
	descRot      = desc("stream_scrub_damage_total", "Damaged places that the scrubber was the first to find.", perStream)
	descRounds   = desc("stream_scrub_rounds_total", "Rounds that the scrubber has ended.", perStream)
	descRound    = desc("stream_scrub_round_time_seconds", "When the last of them ended, Unix time; 0 before.", perStream)

	descSeq      = desc("sink_committed_seq", "Last row that the sink has committed.", perSink)
	descLagRows  = desc("sink_lag_rows", "Rows that the stream has and the sink has not.", perSink)
	descLagBytes = desc("sink_lag_bytes", "Bytes of those rows, about.", perSink)
	descLag      = desc("sink_lag_seconds", "Age of the oldest row not committed.", perSink)
	descUp       = desc("sink_running", "1 while the sink takes rows or has them all, 0 while it is away, halted or not configured.", perSink)
	descRetries  = desc("sink_retries_total", "Batches tried again since the start.", perSink)
	descRows     = desc("sink_rows_total", "Rows committed since the start.", perSink)
	descCommits  = desc("sink_commits_total", "Transactions committed since the start.", perSink)
	descPassed   = desc("sink_gap_rows_total", "Rows that the sink will never have, because repair gave them up, passed over since the start.", perSink)
	descPace     = desc("sink_rows_per_second", "Rows that the sink took per second within the last minute.", perSink)
	descDone     = desc("sink_done_seconds", "Seconds until the sink has everything, at that pace; 0 where it has, or nobody can tell.", perSink)
	descState    = desc("sink_state", "1 for the state that the sink is in.", []string{"stream", "sink", "state", "reason"})
	descOpen     = desc("sink_rejects_open", "Rows that the sink refused and that wait to be retried or discarded.", perSink)
	descAside    = desc("sink_rejects_total", "Rows set aside since the start.", perSink)
	descSize     = desc("sink_size_bytes", "Bytes that the sink takes on this machine's disk.", perSink)
)

func desc(name, help string, labels []string) *prometheus.Desc {
	return prometheus.NewDesc("holdfast_"+name, help, labels, nil)
}

// Describe sends nothing: which streams and sinks there are is known only when
// asked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// scrapeTimeout bounds how long a scrape waits for the server's own state.
const scrapeTimeout = 5 * time.Second

// Collect asks for the status and sends its numbers.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	s, err := c.admin.Status(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descConnections, err)
		return
	}
	one := samples{out, nil}
	one.gauge(descConnections, float64(s.Connections))
	one.gauge(descResident, float64(s.ResidentBytes))
	one.gauge(descPeak, float64(s.PeakResidentBytes))
	if !s.Started.IsZero() {
		one.gauge(descStarted, float64(s.Started.UnixMilli())/1000)
	}
	for _, st := range s.Streams {
		one.gauge(descFirst, float64(st.FirstSeq), st.Name)
		one.gauge(descEnd, float64(st.EndSeq), st.Name)
		one.gauge(descSegments, float64(st.Segments), st.Name)
		one.gauge(descBytes, float64(st.Bytes), st.Name)
		one.gauge(descLimit, float64(st.LimitBytes), st.Name)
		one.gauge(descFree, float64(st.FreeBytes), st.Name)
		one.gauge(descOK, yes(st.State == "ok"), st.Name)
		one.gauge(descDamaged, float64(len(st.Damage)), st.Name)
		one.gauge(descGaps, float64(len(st.Gaps)), st.Name)
		one.gauge(descGapRows, float64(st.GapRows), st.Name)
		one.total(descScrubbed, st.Scrub.Bytes, st.Name)
		one.total(descRot, st.Scrub.Damage, st.Name)
		one.total(descRounds, st.Scrub.Rounds, st.Name)
		one.gauge(descRound, unix(st.Scrub.Ended), st.Name)
		collectRolling(&st, out)
		collectIndex(&st, out)
	}
	collectSources(s.Sources, out)
	collectDoors(s.Doors, out)
	for _, k := range s.Sinks {
		one.gauge(descSeq, float64(k.Seq), k.Stream, k.Name)
		one.gauge(descLagRows, float64(k.LagRows), k.Stream, k.Name)
		one.gauge(descLagBytes, float64(k.LagBytes), k.Stream, k.Name)
		one.gauge(descLag, k.LagSeconds, k.Stream, k.Name)
		one.gauge(descUp, yes(k.State == "delivering" || k.State == "idle"), k.Stream, k.Name)
		one.gauge(descSize, float64(k.SizeBytes), k.Stream, k.Name)
		one.total(descRetries, k.Retries, k.Stream, k.Name)
		one.total(descRows, k.Rows, k.Stream, k.Name)
		one.total(descCommits, k.Commits, k.Stream, k.Name)
		one.total(descPassed, k.GapRows, k.Stream, k.Name)
		one.gauge(descPace, k.RowsPerSecond, k.Stream, k.Name)
		one.gauge(descDone, k.DoneSeconds, k.Stream, k.Name)
		one.gauge(descState, 1, k.Stream, k.Name, k.State, k.Reason)
		one.gauge(descOpen, float64(k.RejectsOpen), k.Stream, k.Name)
		one.total(descAside, k.Rejects, k.Stream, k.Name)
	}
}

// unix returns t as Unix time, 0 for the zero time.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
