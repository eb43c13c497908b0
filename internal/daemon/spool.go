package daemon

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/internal/spool"
	"holdfast/row"
)

// spoolDir is a source that files are dropped in: one directory, or two of which
// one takes new files.
type spoolDir struct {
	c      *config.Source
	spools []*spool.Spool // as the partitions of c
	intake *spool.Intake  // nil where there is one directory
	state  *disk.Real
	mu     sync.Mutex // one switch at a time
}

func openSpool(s *server, name string, c *config.Source) (source, error) {
	columns, err := s.cfg.LineColumns(c)
	if err != nil {
		return nil, err
	}
	d := &spoolDir{c: c}
	o := spool.Options{
		Source: "spool:" + name, Name: name + ".batch", Maildir: c.Layout == config.LayoutMaildir, Format: spool.Format(c.Format),
		Table: string(c.Table), Columns: columns, Symlinks: c.Symlinks == config.SymlinksValues, MaxFile: int64(c.MaxFile), Poll: time.Duration(c.Poll),
		Store: spoolStore{s.db}, Stream: s.cfg.Route, Log: s.log.With("source", name),
	}
	all := c.Partitions()
	if len(all) > 1 {
		d.intake = &spool.Intake{Link: c.Intake, Partitions: [2]spool.Partition{spool.Partition(all[0]), spool.Partition(all[1])}, Maildir: o.Maildir}
		if err := d.intake.Open(); err != nil {
			return nil, err
		}
	}
	if d.state, err = disk.OpenReal(filepath.Join(s.cfg.Data, "sources")); err != nil {
		return nil, err
	}
	o.State = d.state
	for i, p := range all {
		o.Dir, o.Mounted, o.Parser, o.Intake = p.Dir, p.Mounted, &httpapi.Single{}, func() bool { return d.takes(i) }
		if i > 0 { // each has its own list, so that one can be lost with its partition; no source's name has a slash
			o.Source, o.Name = "spool:"+name+"/spare", name+"!spare.batch"
		}
		one, err := spool.Start(o)
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
		d.spools = append(d.spools, one)
	}
	return d, nil
}

// takes tells whether new files go to a partition, or may.
func (d *spoolDir) takes(i int) bool {
	if d.intake == nil {
		return true
	}
	now, err := d.intake.Current()
	return err != nil || now == i
}

// status implements source.
func (d *spoolDir) status() httpapi.SourceStatus {
	out := httpapi.SourceStatus{}
	var oldest time.Time
	worst := 0
	for i, p := range d.c.Partitions() {
		st := d.spools[i].Status()
		out.Rows, out.Rejects, out.Bytes, out.Files, out.BadFiles = out.Rows+st.Rows, out.Rejects+st.Rejects, out.Bytes+st.Bytes, out.Files+st.Files, out.BadFiles+st.Bad
		out.Notes = append(out.Notes, st.Notes...)
		if !st.Oldest.IsZero() && (oldest.IsZero() || st.Oldest.Before(oldest)) {
			oldest = st.Oldest
		}
		if n := 1 + slices.Index([]string{spool.Away, spool.Following, spool.Taking, spool.Starting, spool.Held, spool.Waiting}, st.State); n > worst {
			worst, out.State = n, st.State
		}
		out.LastError = cmp.Or(out.LastError, st.Error)
		out.Partitions = append(out.Partitions, httpapi.Partition{
			Dir: p.Dir, Mounted: p.Mounted, Maildir: d.c.Layout == config.LayoutMaildir, Intake: d.takes(i), State: st.State, Files: st.Files, LastError: st.Error,
		})
	}
	if d.intake != nil {
		if _, err := d.intake.Current(); err != nil {
			out.State, out.LastError = spool.Waiting, err.Error()
		}
	}
	out.Age(oldest)
	return out
}

// close implements source.
func (d *spoolDir) close() error {
	for _, one := range d.spools {
		one.Close()
	}
	return d.state.Close()
}

var _ httpapi.SpoolKeeper = admin{}

// SwitchSpool implements httpapi.SpoolKeeper.
func (a admin) SwitchSpool(name string) (httpapi.Switched, error) {
	if a.server == nil {
		return httpapi.Switched{}, fault.New(fault.CannotConnectNow, "no server runs here, so no spool is served").WithHint("start it with holdfast serve")
	}
	d, ok := a.server.sources[name].(*spoolDir)
	if !ok || d.intake == nil {
		return httpapi.Switched{}, fault.New(fault.UndefinedObject, "no source %q has a spare", name).WithHint("docs/spool.md says how to configure one; holdfast spool status lists them")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	from, to, err := d.intake.Switch()
	if err != nil {
		return httpapi.Switched{}, err
	}
	for _, one := range d.spools {
		one.Wake()
	}
	a.server.log.Info("new files go to the other directory of a spool", "source", name, "from", from, "to", to)
	return httpapi.Switched{Source: name, From: from, To: to}, nil
}

// spoolStore is the database as a spool asks for it.
type spoolStore struct{ *holdfast.DB }

var _ spool.Store = spoolStore{}

// Begin implements spool.Store.
func (s spoolStore) Begin(source, from, to string) spool.Tx {
	return spoolTx{flatTx{s.DB, s.BeginMove(holdfast.Move{Source: source, From: from, To: to})}}
}

// spoolTx is a transaction as a spool asks for it.
type spoolTx struct{ flatTx }

// Insert implements spool.Tx.
func (t spoolTx) Insert(table string, columns []row.Column, values []row.Value) error {
	schema, err := t.db.Schema(table, columns)
	if err != nil {
		return err
	}
	return t.tx.Insert(schema, values)
}

// Malformed implements spool.Tx.
func (t spoolTx) Malformed(l spool.Line) error { return t.tx.InsertMalformed(holdfast.Line(l)) }
