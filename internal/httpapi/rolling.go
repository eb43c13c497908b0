package httpapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Rolling is how a stream rolls: what keeps its oldest segment, and what went
// last.
type Rolling struct {
	PinnedBy      string     `json:"pinned_by"`               // what keeps the oldest segment; "": nothing, or there is none
	Pinned        string     `json:"pinned,omitempty"`        // why: "needed" (by a sink), "held", "kept" (keep_at_least), "active" or "linked"
	Who           string     `json:"pinned_who,omitempty"`    // the sink, the hold, or the stream that a link leads to
	Watermark     *int64     `json:"watermark,omitempty"`     // rows whose link is below it are gone
	WatermarkTime time.Time  `json:"watermark_time,omitzero"` // the same where the link is the time of receipt
	Link          string     `json:"link,omitempty"`          // the column that it is of, or "time"
	Tiers         []TierRoom `json:"tiers"`
	Cold          *ColdTier  `json:"cold,omitempty"`          // missing: there is none
	TrashBytes    int64      `json:"trash_bytes"`             // of the hot tier, until their roll can no longer be undone
	IgnoredSizes  []string   `json:"ignored_sizes,omitempty"` // that are more than a tenth smaller than those in use
	Stuck         string     `json:"stuck,omitempty"`         // why segments cannot be moved out of the hot tier
	StuckSince    time.Time  `json:"stuck_since,omitzero"`
	Silent        []Silent   `json:"silent,omitempty"` // directories of the warm tiers that do not answer

	LastRoll *LastRoll `json:"last_roll,omitempty"` // missing: nothing went, as far as is known
	LastTry  *LastTry  `json:"last_try,omitempty"`  // missing: nothing was to go since the start

	RemovedSegments uint64 `json:"removed_segments"` // since the start
	RemovedBytes    uint64 `json:"removed_bytes"`
}

// Silent is a directory that does not answer.
type Silent struct {
	Directory string    `json:"directory"`
	Since     time.Time `json:"since"`
}

// TierRoom is what one tier of a stream takes.
type TierRoom struct {
	Tier       string `json:"tier"`
	Bytes      int64  `json:"bytes"`
	LimitBytes int64  `json:"limit_bytes"` // budget; 0: none
}

// ColdTier is what became of segments at the cold tier, since the start.
type ColdTier struct {
	Where    string    `json:"where"`
	OnFull   string    `json:"on_cold_full"`
	Segments int64     `json:"segments"` // that were put there
	Bytes    int64     `json:"bytes"`
	Dropped  int64     `json:"dropped_segments"` // that left without a copy
	Held     int64     `json:"held_segments"`    // that stay because they cannot be copied
	Failing  string    `json:"failing,omitempty"`
	Since    time.Time `json:"failing_since,omitzero"`
}

// LastRoll is what went of a stream last.
type LastRoll struct {
	At       time.Time `json:"at"`
	Rule     string    `json:"rule"`
	By       string    `json:"by"`
	Serial   uint64    `json:"roll,omitempty"` // 0: by a limit of the stream alone
	Segments int       `json:"segments"`
	Bytes    int64     `json:"bytes,omitempty"` // missing of what went before the start
}

// LastTry is when something was to go last, and what stood in the way.
type LastTry struct {
	At       time.Time `json:"at"`
	Rule     string    `json:"rule"`
	InTheWay []string  `json:"in_the_way"` // empty: nothing
}

var (
	perTier = []string{"stream", "tier"}

	descPinned   = desc("stream_pinned", "1 while something keeps the oldest segment from being rolled: needed (by a sink), held, kept, active or linked.", []string{"stream", "reason", "who"})
	descOldest   = desc("stream_oldest_row_time_seconds", "Receipt of the oldest row still stored, Unix time; 0 where there is none.", perStream)
	descMark     = desc("stream_watermark", "Rows whose link is below it are gone; not there before the first roll.", []string{"stream", "link"})
	descTier     = desc("stream_tier_size_bytes", "Every file of the stream in the tier.", perTier)
	descTierMax  = desc("stream_tier_limit_bytes", "Budget of the tier; 0 where there is none.", perTier)
	descCold     = desc("stream_cold_segments_total", "Segments put into the cold tier since the start.", perStream)
	descColdB    = desc("stream_cold_bytes_total", "Bytes of them.", perStream)
	descColdDrop = desc("stream_cold_dropped_segments_total", "Segments that left without a copy in the cold tier since the start, as on_cold_full: drop asks.", perStream)
	descColdHeld = desc("stream_cold_held_segments", "Segments that stay because they cannot be copied to the cold tier, as on_cold_full: hold asks.", perStream)
	descColdFail = desc("stream_cold_failing", "1 while the cold tier does not take what is to leave.", perStream)
	descStuck    = desc("stream_move_failing", "1 while segments that should move to the warm tier cannot.", perStream)
	descSilent   = desc("stream_warm_silent", "How many directories of the warm tiers, of the stream and of its index, do not answer; holdfast status names them.", perStream)
	descTrash    = desc("stream_trash_bytes", "Bytes of the hot tier that wait until their roll can no longer be undone.", perStream)
	descLastRoll = desc("stream_last_roll_time_seconds", "When something of the stream was rolled or removed last, Unix time; 0 where that is not known.", perStream)
	descInTheWay = desc("stream_roll_in_the_way", "How many obstacles stood in the way when something was to go last; 0: none.", perStream)
	descRemoved  = desc("stream_removed_segments_total", "Segments removed since the start, by rolls and limits.", perStream)
	descRemovedB = desc("stream_removed_bytes_total", "Bytes of them.", perStream)
)

// collectRolling sends the numbers of one stream.
func collectRolling(st *StreamStatus, out chan<- prometheus.Metric) {
	r := st.Rolling
	if r == nil {
		return
	}
	one := samples{out, []string{st.Name}}
	one.gauge(descPinned, yes(r.Pinned != ""), r.Pinned, r.Who)
	one.gauge(descOldest, unix(st.ReplaySince))
	if r.Watermark != nil {
		one.gauge(descMark, float64(*r.Watermark), r.Link)
	}
	for _, t := range r.Tiers {
		one.gauge(descTier, float64(t.Bytes), t.Tier)
		one.gauge(descTierMax, float64(t.LimitBytes), t.Tier)
	}
	if c := r.Cold; c != nil {
		one.total(descCold, uint64(c.Segments))
		one.total(descColdB, uint64(c.Bytes))
		one.total(descColdDrop, uint64(c.Dropped))
		one.gauge(descColdHeld, float64(c.Held))
		one.gauge(descColdFail, yes(c.Failing != ""))
	}
	one.gauge(descStuck, yes(r.Stuck != ""))
	one.gauge(descSilent, float64(len(r.Silent)))
	one.gauge(descTrash, float64(r.TrashBytes))
	at, ways := time.Time{}, 0
	if r.LastRoll != nil {
		at = r.LastRoll.At
	}
	if r.LastTry != nil {
		ways = len(r.LastTry.InTheWay)
	}
	one.gauge(descLastRoll, unix(at))
	one.gauge(descInTheWay, float64(ways))
	one.total(descRemoved, r.RemovedSegments)
	one.total(descRemovedB, r.RemovedBytes)
}
