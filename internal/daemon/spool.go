package daemon

import (
	"errors"
	"path/filepath"
	"time"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/disk"
	"holdfast/internal/httpapi"
	"holdfast/internal/spool"
	"holdfast/row"
)

// spoolDir is a directory that files are dropped in.
type spoolDir struct {
	*spool.Spool
	state *disk.Real
}

func openSpool(s *server, name string, c *config.Source) (source, error) {
	columns, err := s.cfg.LineColumns(c)
	if err != nil {
		return nil, err
	}
	state, err := disk.OpenReal(filepath.Join(s.cfg.Data, "sources"))
	if err != nil {
		return nil, err
	}
	one, err := spool.Start(spool.Options{
		Dir: c.Directory(), Mounted: c.Mounted(), Source: "spool:" + name, Maildir: c.Layout == config.LayoutMaildir, Format: spool.Format(c.Format),
		Table: string(c.Table), Columns: columns, Symlinks: c.Symlinks == config.SymlinksValues, MaxFile: int64(c.MaxFile), Poll: time.Duration(c.Poll),
		Parser: &httpapi.Single{}, State: state, Name: name + ".batch", Store: spoolStore{s.db}, Stream: s.cfg.Route, Log: s.log.With("source", name),
	})
	if err != nil {
		return nil, errors.Join(err, state.Close())
	}
	return spoolDir{one, state}, nil
}

// status implements source.
func (d spoolDir) status() httpapi.SourceStatus {
	st := d.Status()
	out := httpapi.SourceStatus{
		State: st.State, LastError: st.Error, Notes: st.Notes, Rows: st.Rows, Rejects: st.Rejects, Bytes: st.Bytes, Files: st.Files, BadFiles: st.Bad,
	}
	out.Age(st.Oldest)
	return out
}

// close implements source.
func (d spoolDir) close() error {
	d.Close()
	return d.state.Close()
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
