package daemon

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/httpapi"
)

// repeats returns the tables whose repeats are dropped.
func repeats(c *config.Config) (all []holdfast.Dedupe) {
	for _, name := range slices.Sorted(maps.Keys(c.Tables.Dedupe)) {
		d := c.Tables.Dedupe[name]
		all = append(all, holdfast.Dedupe{Table: name, Key: d.Key, Window: time.Duration(d.Window), Keys: d.Keys})
	}
	return all
}

func dedupeStatus(all []holdfast.DedupeStatus) (out []httpapi.DedupeStatus) {
	for _, d := range all {
		out = append(out, httpapi.DedupeStatus{
			Table: d.Table, Stream: d.Stream, Key: d.Key, WindowSeconds: d.Window.Seconds(), Limit: d.Keys,
			Repeats: d.Repeats, Keys: d.Known, Forgotten: d.Early, Since: d.Since, Unknown: d.Unknown,
		})
	}
	return out
}

// repeated publishes what was dropped as repeats.
type repeated struct{ db *holdfast.DB }

var (
	perTable = []string{"stream", "table"}

	descRepeats   = desc("dedupe_repeats_total", "Rows dropped since the start, because they were sent again.", perTable)
	descKeys      = desc("dedupe_keys", "Keys that are remembered, to tell repeats.", perTable)
	descForgotten = desc("dedupe_forgotten_total", "Keys forgotten before their window ended, for lack of room.", perTable)
)

// Describe sends nothing: the tables are known when asked.
func (repeated) Describe(chan<- *prometheus.Desc) {}

// Collect sends what each table's status says.
func (r repeated) Collect(out chan<- prometheus.Metric) {
	for _, d := range r.db.Status().Dedupe {
		out <- prometheus.MustNewConstMetric(descRepeats, prometheus.CounterValue, float64(d.Repeats), d.Stream, d.Table)
		out <- prometheus.MustNewConstMetric(descKeys, prometheus.GaugeValue, float64(d.Known), d.Stream, d.Table)
		out <- prometheus.MustNewConstMetric(descForgotten, prometheus.CounterValue, float64(d.Early), d.Stream, d.Table)
	}
}
