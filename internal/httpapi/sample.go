package httpapi

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// samples sends the numbers of one thing, whose labels they begin with.
type samples struct {
	out    chan<- prometheus.Metric
	labels []string
}

func (s samples) gauge(d *prometheus.Desc, v float64, more ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, slices.Concat(s.labels, more)...)
}

func (s samples) total(d *prometheus.Desc, v uint64, more ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), slices.Concat(s.labels, more)...)
}
