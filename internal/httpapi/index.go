package httpapi

import "github.com/prometheus/client_golang/prometheus"

// IndexStatus is how the index of a stream is doing.
type IndexStatus struct {
	Slices     int    `json:"slices"`            // in both tiers
	Bytes      int64  `json:"bytes"`             // in the hot one
	LimitBytes int64  `json:"limit_bytes"`       // budget; 0: only min_free bounds it
	Made       uint64 `json:"made"`              // since the start
	Damaged    uint64 `json:"damaged"`           // slices that were damaged, or of other rows, since the start; they are made anew
	Trouble    string `json:"trouble,omitempty"` // why slices are not made at the moment

	Warm *IndexWarm `json:"warm,omitempty"` // missing where the index has no warm tier
}

// IndexWarm is what of an index is in its warm tier.
type IndexWarm struct {
	Slices     int   `json:"slices"`
	Bytes      int64 `json:"bytes"`
	LimitBytes int64 `json:"limit_bytes"` // budget; 0: only min_free bounds it
}

var (
	descSlices     = desc("stream_index_slices", "Slices of the stream's index, one per sealed segment that it knows.", perStream)
	descIndex      = desc("stream_index_size_bytes", "Bytes of them in the hot tier.", perStream)
	descIndexMax   = desc("stream_index_limit_bytes", "Budget of the index in the hot tier; 0 where there is none.", perStream)
	descWarmSlices = desc("stream_index_warm_slices", "Slices in the warm tier of the index.", perStream)
	descWarm       = desc("stream_index_warm_size_bytes", "Bytes of them.", perStream)
	descWarmMax    = desc("stream_index_warm_limit_bytes", "Budget of the warm tier of the index; 0 where there is none.", perStream)
	descMade       = desc("stream_index_made_total", "Slices made since the start.", perStream)
	descIndexBad   = desc("stream_index_damaged_total", "Slices that were damaged, or of other rows, since the start; they are made anew.", perStream)
	descIndexStuck = desc("stream_index_trouble", "1 while slices cannot be made; holdfast status says why.", perStream)
)

// collectIndex sends the numbers of one stream's index.
func collectIndex(st *StreamStatus, out chan<- prometheus.Metric) {
	x := st.Index
	if x == nil {
		return
	}
	one := samples{out, []string{st.Name}}
	one.gauge(descSlices, float64(x.Slices))
	one.gauge(descIndex, float64(x.Bytes))
	one.gauge(descIndexMax, float64(x.LimitBytes))
	one.total(descMade, x.Made)
	one.total(descIndexBad, x.Damaged)
	one.gauge(descIndexStuck, yes(x.Trouble != ""))
	if w := x.Warm; w != nil {
		one.gauge(descWarmSlices, float64(w.Slices))
		one.gauge(descWarm, float64(w.Bytes))
		one.gauge(descWarmMax, float64(w.LimitBytes))
	}
}
