package daemon

import (
	"context"
	"errors"
	"time"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/httpapi"
	"holdfast/internal/pgwire"
	"holdfast/row"
	"holdfast/sink"
)

// pgStore is the database as the PostgreSQL wire asks for it.
type pgStore struct {
	*holdfast.DB
	in *intake
}

var _ pgwire.Store = pgStore{}

// Begin implements pgwire.Store.
func (s pgStore) Begin() pgwire.Tx { return s.in.begin(s.DB.Begin()) }

// Declare implements pgwire.Store.
func (s pgStore) Declare(table string, columns []pgwire.Column) error {
	t := sink.Table{Name: table, Columns: make([]sink.Column, len(columns))}
	for i, c := range columns {
		t.Columns[i] = sink.Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull, Default: c.Default, Generated: c.Generated}
	}
	return s.DeclareTable(t)
}

// webStore is the database as HTTP asks for it.
type webStore struct {
	*holdfast.DB
	in *intake
}

var _ httpapi.Store = webStore{}

// Begin implements httpapi.Store.
func (s webStore) Begin() httpapi.Tx { return s.in.begin(s.DB.Begin()) }

var _ httpapi.OnceStore = webStore{}

// BeginOnce implements httpapi.OnceStore.
func (s webStore) BeginOnce(ctx context.Context, o httpapi.Once) (httpapi.OnceTx, *httpapi.Answer, error) {
	tx, before, err := s.DB.BeginOnce(ctx, holdfast.Once(o))
	if tx == nil {
		return nil, (*httpapi.Answer)(before), err
	}
	return s.in.begin(tx), nil, err
}

// admin is what the database, and the server around it, tell of themselves.
type admin struct {
	db     *holdfast.DB
	server *server        // nil where none runs
	cfg    *config.Config // where server is nil
}

var (
	_ httpapi.Admin        = admin{}
	_ httpapi.Repairer     = admin{}
	_ httpapi.Operator     = admin{}
	_ httpapi.RejectKeeper = admin{}
	_ httpapi.SourceKeeper = admin{}
)

// Status implements httpapi.Admin.
func (a admin) Status(context.Context) (httpapi.Status, error) {
	cfg := a.cfg
	st := httpapi.Status{Streams: []httpapi.StreamStatus{}, Sinks: []httpapi.SinkStatus{}}
	if s := a.server; s != nil {
		cfg = s.cfg
		st.Version, st.Started, st.Listen, st.Connections = s.o.Version, s.started, s.doors.addresses, s.doors.connections()
		st.ResidentBytes, st.PeakResidentBytes = httpapi.Resident()
		st.Warnings = s.ties.told()
		st.Sources, st.Doors = s.sourceStatus(), s.doorStatus()
		st.Families = s.closings.status()
	}
	st.Data = cfg.Data
	st.Warnings = append(a.db.Troubles(), st.Warnings...)
	now := a.db.Status()
	for _, s := range now.Streams {
		one := httpapi.StreamStatus{
			Name: s.Name, ID: s.ID, FirstSeq: s.FirstSeq, EndSeq: s.EndSeq, Segments: s.Segments, Bytes: s.Bytes, LimitBytes: s.Limit,
			FreeBytes: s.Free, State: s.State, Error: s.Error, ReplaySince: s.Oldest, Damage: s.Damage,
			Gaps: s.Gaps, GapRows: s.GapRows, Scrub: httpapi.Scrub(s.Scrub), Rolling: rolling(s.Rolling),
		}
		if x := s.Index; x != nil {
			one.Index = &httpapi.IndexStatus{Slices: x.Slices, Bytes: x.Bytes, LimitBytes: x.Limit, Made: x.Made, Damaged: x.Bad, Trouble: x.Trouble}
			if w := x.Warm; w.There {
				one.Index.Warm = &httpapi.IndexWarm{Slices: w.Slices, Bytes: w.Bytes, LimitBytes: w.Limit}
			}
		}
		if one.Damage == nil {
			one.Damage = []row.Damage{}
		}
		if one.Gaps == nil {
			one.Gaps = []row.Damage{}
		}
		st.Streams = append(st.Streams, one)
	}
	st.Dedupe = dedupeStatus(now.Dedupe)
	for _, k := range now.Sinks {
		st.Sinks = append(st.Sinks, sinkStatus(k, cfg, a.server != nil))
	}
	return st, nil
}

func sinkStatus(k holdfast.SinkStatus, cfg *config.Config, running bool) httpapi.SinkStatus {
	one := httpapi.SinkStatus{
		Name: k.Name, Stream: k.Stream, State: k.State, Seq: k.Seq, LagRows: k.LagRows, LagBytes: max(0, k.LagBytes),
		LastError: k.LastError, Since: k.Since, Retries: k.Retries, Rows: k.Rows, Commits: k.Commits, GapRows: k.GapRows, SizeBytes: k.Size,
		Reason: k.Reason, Do: advice(k, running), RowsPerSecond: k.RowsPerSecond, DoneSeconds: k.Left.Seconds(), RejectsOpen: k.RejectsOpen, Rejects: k.Rejects,
	}
	for _, name := range []string{k.Given, k.Name} {
		if c := cfg.Sinks[name]; c != nil && one.Type == "" {
			one.Type = string(c.Type)
		}
	}
	if k.LagRows > 0 && !k.Oldest.IsZero() {
		one.LagSeconds = max(0, time.Since(k.Oldest).Seconds())
	}
	if k.Reason != "" {
		one.LastError = k.Reason + ": " + k.LastError
	}
	return one
}

// Verify implements httpapi.Admin.
func (a admin) Verify(ctx context.Context, stream string, report func(row.Damage) error) (httpapi.Verified, error) {
	v, err := a.db.Verify(ctx, stream, report)
	return verified(v), err
}

func verified(v holdfast.Verified) httpapi.Verified {
	return httpapi.Verified{Streams: v.Streams, Segments: v.Segments, Rows: int64(v.Rows), Bytes: v.Bytes, Damaged: v.Damaged, Gaps: v.Gaps}
}

// Repair implements httpapi.Repairer.
func (a admin) Repair(ctx context.Context, stream string, apply bool, report func(httpapi.Repair) error) (httpapi.Verified, error) {
	v, err := a.db.Repair(ctx, stream, apply, func(r holdfast.Repair) error { return report(httpapi.Repair(r)) })
	return verified(v), err
}

// Seal implements httpapi.Admin.
func (a admin) Seal(ctx context.Context) error { return a.db.Seal(ctx) }

// Rows implements httpapi.Admin.
func (a admin) Rows(ctx context.Context, q httpapi.RowsQuery, emit func(*row.Row) error, damage func(row.Damage) error) error {
	o := holdfast.ReadOptions{Stream: q.Stream, Table: q.Table, From: q.From, Limit: q.Limit, Follow: q.Follow, CutOff: q.CutOff, Where: q.Where, Since: q.Since, NoIndex: q.NoIndex}
	if q.Explain != nil {
		o.Explain = func(e holdfast.Explained) { q.Explain(httpapi.Explained(e)) }
	}
	for r, err := range a.db.Read(ctx, o) {
		var bad *holdfast.DamageError
		switch {
		case err == nil:
			err = emit(r)
		case errors.As(err, &bad):
			err = damage(bad.Damage)
		case q.Follow && ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Ready implements httpapi.Admin.
func (a admin) Ready() error {
	if a.server == nil {
		return nil
	}
	return a.server.ready()
}

// Offline is a data directory that no server has open, opened in this process
// without sinks and doors. What is put stays until a server delivers it.
type Offline struct {
	httpapi.Local
	db *holdfast.DB
}

// OpenOffline opens the data directory of a configuration.
func OpenOffline(_ context.Context, c *config.Config) (*Offline, error) {
	return openOffline(c, false)
}

// OpenReading is OpenOffline for a directory that is only read, on a file system
// that may take no write.
func OpenReading(_ context.Context, c *config.Config) (*Offline, error) {
	return openOffline(c, true)
}

func openOffline(c *config.Config, reading bool) (*Offline, error) {
	o, err := options(c, nil, nil)
	if err != nil {
		return nil, err
	}
	o.Reading = reading
	db, err := openWith(c, o)
	if err != nil {
		return nil, err
	}
	return &Offline{Local: httpapi.Local{Store: webStore{db, new(intake)}, Admin: admin{db: db, cfg: c}}, db: db}, nil
}

// Close gives the directory up.
func (o *Offline) Close() error { return o.db.Close() }
