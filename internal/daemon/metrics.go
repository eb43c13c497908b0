package daemon

import (
	"github.com/prometheus/client_golang/prometheus"
)

// collector publishes what Status has no place for: the counters of the wire
// and of the flushes.
type collector struct{ s *server }

var (
	perStream = []string{"stream"}

	descRows      = desc("stream_rows_total", "Rows committed since the start.", perStream)
	descWritten   = desc("stream_written_bytes_total", "Bytes written for them.", perStream)
	descFlushes   = desc("stream_flushes_total", "Flushes since the start.", perStream)
	descFlushTime = desc("stream_flush_seconds_total", "Time in all of them.", perStream)

	descAccepted     = desc("pg_connections_total", "Connections taken by the PostgreSQL door.", nil)
	descRefused      = desc("pg_refused_total", "Connections turned away because too many were open.", nil)
	descStatements   = desc("pg_statements_total", "Statements begun.", nil)
	descPGRows       = desc("pg_rows_total", "Rows committed through the PostgreSQL door.", nil)
	descMyAccepted   = desc("mysql_connections_total", "Connections taken by the MySQL door.", nil)
	descMyRefused    = desc("mysql_refused_total", "Connections turned away because too many were open.", nil)
	descMyStatements = desc("mysql_statements_total", "Statements begun.", nil)
	descMyRows       = desc("mysql_rows_total", "Rows committed through the MySQL door.", nil)
	descMyErrors     = desc("mysql_errors_total", "Errors sent.", nil)

	descErrors = desc("pg_errors_total", "Errors sent, by SQLSTATE.", []string{"code"})
)

func desc(name, help string, labels []string) *prometheus.Desc {
	return prometheus.NewDesc("holdfast_"+name, help, labels, nil)
}

// Describe sends nothing: which streams and codes there are is known only when
// asked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the counters.
func (c collector) Collect(out chan<- prometheus.Metric) {
	total := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, s := range c.s.db.Status().Streams {
		total(descRows, float64(s.Appended), s.Name)
		total(descWritten, float64(s.Written), s.Name)
		total(descFlushes, float64(s.Flushes), s.Name)
		total(descFlushTime, s.FlushTime.Seconds(), s.Name)
	}
	p := c.s.doors.pg.Stats()
	total(descAccepted, float64(p.Accepted))
	total(descRefused, float64(p.Refused))
	total(descStatements, float64(p.Statements))
	total(descPGRows, float64(p.Rows))
	for code, n := range p.Errors {
		total(descErrors, float64(n), code)
	}
	if c.s.doors.my == nil {
		return
	}
	m := c.s.doors.my.Stats()
	total(descMyAccepted, float64(m.Accepted))
	total(descMyRefused, float64(m.Refused))
	total(descMyStatements, float64(m.Statements))
	total(descMyRows, float64(m.Rows))
	total(descMyErrors, float64(m.Errors))
}
