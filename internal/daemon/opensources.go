package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/flatlog"
	"holdfast/internal/httpapi"
	"holdfast/row"
)

// source is a configured source that is open.
type source interface {
	// status tells how it is; name and type are filled in by who asks.
	status() httpapi.SourceStatus
	// close ends taking rows, and returns when none is under way.
	close() error
}

// rotator is a source whose files can be rotated.
type rotator interface {
	rotate(ctx context.Context) (files int, err error)
}

// openSource opens a source of its kind.
var openSource = map[config.SourceType]func(s *server, name string, c *config.Source) (source, error){
	config.Flatstore: openFlatstore,
	config.Spool:     openSpool,
	config.Syslog:    openSyslog,
}

// openSources opens the sources of the configuration.
func (s *server) openSources() error {
	s.sources = map[string]source{}
	for _, name := range s.cfg.SourceNames() {
		c := s.cfg.Sources[name]
		open, known := openSource[c.Type]
		if !known {
			return fault.New(fault.FeatureNotSupported, "sources of type %q are not known", string(c.Type))
		}
		one, err := open(s, name, c)
		if err != nil {
			return fmt.Errorf("open source %q: %w", name, err)
		}
		s.sources[name] = one
	}
	return nil
}

// closeSources closes them.
func (s *server) closeSources() {
	for name, one := range s.sources {
		if err := one.close(); err != nil {
			s.log.Error("close source", "source", name, "error", err)
		}
	}
}

// sourceStatus tells of all sources.
func (s *server) sourceStatus() (all []httpapi.SourceStatus) {
	for _, name := range s.cfg.SourceNames() {
		if one := s.sources[name]; one != nil {
			st := one.status()
			st.Name, st.Type = name, string(s.cfg.Sources[name].Type)
			all = append(all, st)
		}
	}
	return all
}

// rotateSource rotates the files of a source; ok is false where no source has
// the name.
func (s *server) rotateSource(ctx context.Context, name string) (ok bool, err error) {
	one := s.sources[name]
	if one == nil {
		return false, nil
	}
	r, able := one.(rotator)
	if !able {
		return true, fault.New(fault.FeatureNotSupported, "source %q has no files to rotate", name)
	}
	_, err = r.rotate(ctx)
	return true, err
}

// flatstore is a followed directory.
type flatstore struct {
	*flatlog.Follower
	state *disk.Real
}

func openFlatstore(s *server, name string, c *config.Source) (source, error) {
	columns, err := s.cfg.LineColumns(c)
	if err != nil {
		return nil, err
	}
	state, err := disk.OpenReal(filepath.Join(s.cfg.Data, "sources"))
	if err != nil {
		return nil, err
	}
	o := flatlog.Options{
		Dir: c.Directory(), Source: "flatstore:" + name, Columns: columns, Suffix: string(c.Suffix), Decode: c.Decode == config.DecodeKamailio,
		Now: c.Start == config.StartNow, Olddir: c.Olddir, Poll: time.Duration(c.Poll), MaxOpen: sourceFiles - 8, Archive: c.Archive,
		Finished:    map[config.Finished]int{config.FinishedKeep: flatlog.Keep, config.FinishedRemove: flatlog.Remove, config.FinishedArchive: flatlog.Archive}[c.Finished],
		RotateEvery: time.Duration(c.Rotate.Every), RotateSize: int64(c.Rotate.Size),
		State: state, Name: name + ".positions", Store: flatStore{s.db}, Stream: s.cfg.Route, Log: s.log.With("source", name),
	}
	switch {
	case c.Rotate.RPC != "":
		o.Tell = flatlog.TellRPC(string(c.Rotate.RPC))
	case len(c.Rotate.Command) > 0:
		var args []string
		for _, a := range c.Rotate.Command {
			args = append(args, string(a))
		}
		o.Tell = flatlog.TellCommand(args...)
	}
	return flatstore{flatlog.Start(o), state}, nil
}

func (f flatstore) status() httpapi.SourceStatus {
	st := f.Status()
	out := httpapi.SourceStatus{
		State: st.State, LastError: st.Error, Notes: st.Notes, Rows: st.Rows, Rejects: st.Rejects, Bytes: st.Bytes,
		PendingBytes: st.Pending, Files: st.Files, OpenFiles: st.Open,
	}
	out.Age(st.Oldest)
	return out
}

func (f flatstore) rotate(ctx context.Context) (int, error) { return f.Rotate(ctx) }

func (f flatstore) close() error {
	f.Close()
	return f.state.Close()
}

// flatStore is the database as a follower asks for it.
type flatStore struct{ *holdfast.DB }

var _ flatlog.Store = flatStore{}

// Begin implements flatlog.Store.
func (s flatStore) Begin(source, from, to string) flatlog.Tx {
	return flatTx{s.DB, s.BeginMove(holdfast.Move{Source: source, From: from, To: to})}
}

// flatTx is a transaction as a follower asks for it.
type flatTx struct {
	db *holdfast.DB
	tx *holdfast.Tx
}

// Insert implements flatlog.Tx.
func (t flatTx) Insert(table string, columns []string, values []row.Value) error {
	cols := make([]row.Column, len(columns))
	for i, name := range columns {
		cols[i] = row.Column{Name: name, Type: "text"}
	}
	schema, err := t.db.Schema(table, cols)
	if err != nil {
		return err
	}
	return t.tx.Insert(schema, values)
}

// Malformed implements flatlog.Tx.
func (t flatTx) Malformed(l flatlog.Line) error { return t.tx.InsertMalformed(holdfast.Line(l)) }

// Commit implements flatlog.Tx.
func (t flatTx) Commit(ctx context.Context) error { return t.tx.Commit(ctx, true) }

// Rollback implements flatlog.Tx.
func (t flatTx) Rollback() { t.tx.Rollback() }
