package daemon

import (
	"context"
	"runtime"
	"slices"
	"strings"

	"holdfast/internal/httpapi"
	"holdfast/internal/pgwire"
	"holdfast/row"
)

// Bounds of what the console lists, so that a look takes little whatever there
// is. The verbs list all.
const (
	mostSegments = 10_000 // of each stream, the newest
	mostRejects  = 1_000  // that wait, the oldest
)

// console is the database pgwire.ConsoleDatabase. What it tells of streams and
// sinks is what GET /v1/status answers, and its counters are those of /metrics.
type console struct{ s *server }

var _ pgwire.Console = console{}

// view is a topic with where its rows come from.
type view struct {
	pgwire.Topic
	rows func(c console, ctx context.Context) ([][]any, error)
}

// columns reads "name type, name type".
func columns(text string) (all []row.Column) {
	for one := range strings.SplitSeq(text, ",") {
		f := strings.Fields(one)
		all = append(all, row.Column{Name: f[0], Type: f[1]})
	}
	return all
}

// Names and types are for programs to rely on: add columns at the end.
var views = []view{
	{pgwire.Topic{Name: "streams", Help: "each stream: what it holds, what room it has", Columns: columns(
		"stream text, state text, first_seq int8, end_seq int8, segments int8, bytes int8, limit_bytes int8, free_bytes int8, replay_since timestamptz, damage int8, gap_rows int8, error text, id text")},
		status(streamRows)},
	{pgwire.Topic{Name: "sinks", Help: "each sink: its state, how far it is behind, what there is to do", Columns: columns(
		"sink text, stream text, type text, state text, seq int8, lag_rows int8, lag_bytes int8, lag_seconds float8, rows_per_second float8, done_seconds float8, rejects_open int8, retries int8, since timestamptz, size_bytes int8, last_error text, do text")},
		status(sinkRows)},
	{pgwire.Topic{Name: "sources", Help: "each source: what came in, what waits and since when", Columns: columns(
		"source text, type text, state text, rows int8, bytes int8, rejects int8, pending_bytes int8, pending_seconds float8, files int8, bad_files int8, lost int8, refused int8, last_error text")},
		status(sourceRows)},
	{pgwire.Topic{Name: "doors", Help: "each door: what came in, what is being stored and since when", Columns: columns(
		"door text, address text, rows int8, bytes int8, refused int8, pending_bytes int8, pending_seconds float8")},
		status(doorRows)},
	{pgwire.Topic{Name: "segments", Help: "the newest segments of each stream", Columns: columns(
		"stream text, segment int8, state text, first_seq int8, rows int8, bytes int8, oldest timestamptz, newest timestamptz")},
		console.segments},
	{pgwire.Topic{Name: "rolls", Help: "how each stream rolls: what keeps its oldest rows, what went last", Columns: columns(rollColumns)}, status(rollRows)},
	{pgwire.Topic{Name: "clients", Help: "the connections to this port and to the MySQL door", Columns: columns(
		"pid int8, user text, database text, application_name text, address text, state text, tls bool, since timestamptz, rows int8, received_bytes int8, sent_bytes int8, door text")},
		console.clients},
	{pgwire.Topic{Name: "rejects", Help: "rows that sinks refused and that wait; holdfast rejects does something about them", Columns: columns(
		"id int8, sink text, stream text, seq int8, table text, code text, error text, attempts int8, refused timestamptz, changed timestamptz")},
		console.rejects},
	{pgwire.Topic{Name: "stats", Help: "the counters that /metrics has", Columns: columns("metric text, labels text, value float8")}, console.stats},
	{pgwire.Topic{Name: "config", Help: "the configuration in force, secrets hidden", Columns: columns("key text, value text, reload bool")}, console.config},
	{pgwire.Topic{Name: "version", Help: "which Holdfast this is, and how it runs", Columns: columns(
		"version text, go text, started timestamptz, data text, pg text, http text, connections int8, resident_bytes int8, peak_resident_bytes int8")},
		status(versionRow)},
}

// Topics implements pgwire.Console.
func (console) Topics() []pgwire.Topic {
	all := make([]pgwire.Topic, len(views))
	for i, v := range views {
		all[i] = v.Topic
	}
	return all
}

// Show implements pgwire.Console.
func (c console) Show(ctx context.Context, topic string) ([][]any, error) {
	i := slices.IndexFunc(views, func(v view) bool { return v.Name == topic })
	return views[i].rows(c, ctx)
}

// status returns rows made of the status that HTTP answers as well.
func status(rows func(httpapi.Status) [][]any) func(console, context.Context) ([][]any, error) {
	return func(c console, ctx context.Context) ([][]any, error) {
		st, err := admin{db: c.s.db, server: c.s}.Status(ctx)
		return rows(st), err
	}
}

// text is NULL for what is not there.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func streamRows(st httpapi.Status) (rows [][]any) {
	for _, s := range st.Streams {
		rows = append(rows, []any{s.Name, s.State, int64(s.FirstSeq), int64(s.EndSeq), int64(s.Segments), s.Bytes, s.LimitBytes, s.FreeBytes,
			s.ReplaySince, int64(len(s.Damage)), int64(s.GapRows), text(s.Error), s.ID})
	}
	return rows
}

func sinkRows(st httpapi.Status) (rows [][]any) {
	for _, k := range st.Sinks {
		rows = append(rows, []any{k.Name, k.Stream, text(k.Type), k.State, int64(k.Seq), int64(k.LagRows), k.LagBytes, k.LagSeconds,
			k.RowsPerSecond, k.DoneSeconds, int64(k.RejectsOpen), int64(k.Retries), k.Since, k.SizeBytes, text(k.LastError), text(k.Do)})
	}
	return rows
}

func sourceRows(st httpapi.Status) (rows [][]any) {
	for _, k := range st.Sources {
		rows = append(rows, []any{k.Name, k.Type, k.State, int64(k.Rows), int64(k.Bytes), int64(k.Rejects), k.PendingBytes, k.PendingSeconds,
			int64(k.Files), int64(k.BadFiles), int64(k.Lost), int64(k.Refused), text(k.LastError)})
	}
	return rows
}

func doorRows(st httpapi.Status) (rows [][]any) {
	for _, d := range st.Doors {
		rows = append(rows, []any{d.Name, d.Address, int64(d.Rows), d.Bytes, int64(d.Refused), d.PendingBytes, d.PendingSeconds})
	}
	return rows
}

func versionRow(st httpapi.Status) [][]any {
	return [][]any{{st.Version, runtime.Version(), st.Started, st.Data, st.Listen.PG, st.Listen.HTTP, int64(st.Connections),
		st.ResidentBytes, st.PeakResidentBytes}}
}

func (c console) segments(context.Context) (rows [][]any, err error) {
	for _, s := range c.s.db.Segments(mostSegments) {
		rows = append(rows, []any{s.Stream, int64(s.Number), s.State, int64(s.FirstSeq), int64(s.Rows), s.Bytes, s.Oldest, s.Newest})
	}
	return rows, nil
}

func (c console) clients(context.Context) (rows [][]any, err error) {
	for _, k := range c.s.doors.pg.Clients() {
		rows = append(rows, []any{int64(k.PID), text(k.User), text(k.Database), text(k.Application), k.Address, k.State, k.TLS, k.Since,
			int64(k.Rows), int64(k.Received), int64(k.Sent), "pg"})
	}
	if my := c.s.doors.my; my != nil {
		for _, k := range my.Clients() {
			rows = append(rows, []any{int64(k.ID), text(k.User), text(k.Database), nil, k.Address, k.State, k.TLS, k.Since, int64(k.Rows), nil, nil, "mysql"})
		}
	}
	return rows, nil
}

func (c console) rejects(ctx context.Context) (rows [][]any, err error) {
	err = admin{db: c.s.db, server: c.s}.Rejects(ctx, httpapi.RejectFilter{Limit: mostRejects}, func(r httpapi.Reject) error {
		rows = append(rows, []any{int64(r.ID), r.Sink, r.Stream, int64(r.Seq), r.Table, text(r.Code), r.Error, int64(r.Attempts), r.Refused, r.Changed})
		return nil
	})
	return rows, err
}

// stats tells what /metrics does, one number a row.
func (c console) stats(context.Context) (rows [][]any, err error) {
	families, err := c.s.doors.registry.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			var value float64
			switch {
			case m.GetCounter() != nil:
				value = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				value = m.GetGauge().GetValue()
			case m.GetUntyped() != nil:
				value = m.GetUntyped().GetValue()
			default: // a distribution is more than one number
				continue
			}
			rows = append(rows, []any{f.GetName(), text(strings.Join(labels, " ")), value})
		}
	}
	return rows, err
}

func (c console) config(context.Context) (rows [][]any, err error) {
	for _, v := range *c.s.shown.Load() {
		rows = append(rows, []any{v.Key, v.Value, v.Reload})
	}
	return rows, nil
}

// showConfig makes the configuration in force the one that the console shows.
func (s *server) showConfig() {
	values := s.cfg.Values()
	s.shown.Store(&values)
}
