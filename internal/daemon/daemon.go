// Package daemon is the server: it opens the database with the sinks of a
// configuration, opens the doors, and lives until it is told to stop. It alone
// sees all packages, and does nothing but wire them.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/volume"
)

// Config is what a server is started with. Config must be set; the zero value
// of all else works.
type Config struct {
	Config  *config.Config
	Reload  func() (*config.Config, error) // reads the configuration again, on HUP; nil: HUP changes nothing
	Version string
	Log     *slog.Logger   // nil: nothing is logged
	Level   *slog.LevelVar // of Log, which a reload may change; nil: it stays
}

// server is one that runs.
type server struct {
	o       Config
	cfg     *config.Config // in force; Run's goroutine alone changes it
	log     *slog.Logger
	db      *holdfast.DB
	intakes intakes
	doors   *doors
	access  *access
	started time.Time
	memory  goal
	notify  func(state string)

	shown    atomic.Pointer[[]config.Value] // cfg, for the console
	unfollow func()                         // ends what follow began
	schedule *schedule
	closings *closings
	ties     *ties
	sources  map[string]source // by name
}

// Run serves until ctx ends, and then stops: it closes the doors, delivers for
// as long as the configuration's drain, and says what is left. It returns nil
// after that, and an error where it could not start, where a door broke down,
// or where the database did not close well. It sets the umask and the memory
// limits of the process, so a process runs it once at a time.
func Run(ctx context.Context, o Config) error {
	s := &server{o: o, cfg: o.Config, log: o.Log, started: time.Now()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.notify = func(state string) {
		if _, err := systemd.SdNotify(false, state); err != nil {
			s.log.Warn("tell systemd", "error", err)
		}
	}
	syscall.Umask(0o077)
	s.memory.fit(func() int { return 0 })
	if err := s.cfg.Check(); err != nil {
		return err
	}
	_, err := shareOut(descriptors(), s.cfg)
	if err != nil {
		return err
	}
	if err = s.open(); err != nil {
		return err
	}
	if err = s.openSources(); err == nil { // before the doors, which tell of them
		err = s.openDoors()
	}
	if err != nil {
		s.closeSources()
		return errors.Join(err, s.close())
	}
	signals := listenToSignals()
	defer signal.Stop(signals)
	s.log.Info("ready", "pg", s.doors.addresses.PG, "http", s.doors.addresses.HTTP, "mysql", s.doors.addresses.MySQL, "data", s.cfg.Data,
		"version", o.Version, "took", time.Since(s.started).String())
	s.notify(systemd.SdNotifyReady)
	broken := s.live(ctx, signals)
	return errors.Join(broken, s.stop())
}

// open opens the database with its sinks, and begins to ask them what their
// tables look like.
func (s *server) open() error {
	sinks, err := openSinks(s.cfg, s.log)
	if err != nil {
		return err
	}
	if s.db, err = open(s.cfg, s.log, sinks); err != nil {
		return errors.Join(err, closeSinks(sinks))
	}
	s.warnOfMemory()
	if s.unfollow, err = follow(s.db, s.cfg, sinks); err != nil {
		s.unfollow()
		return errors.Join(err, s.db.Close())
	}
	s.ties = s.watchTies(sinks)
	if err = s.startSchedule(); err == nil {
		s.closings = s.startClosings()
	}
	return err
}

// warnOfMemory says where rows are acknowledged that no disk has.
func (s *server) warnOfMemory() {
	dirs := []string{s.cfg.Data}
	for _, name := range s.cfg.StreamNames() {
		for _, p := range s.cfg.Streams[name].Places() {
			if p.Path != "" {
				dirs = append(dirs, p.Path)
			}
		}
	}
	for _, dir := range dirs {
		if m, known := volume.Of(dir); known && m.InMemory() {
			s.log.Warn("this directory is in memory: a power cut takes every row in it, acknowledged ones too; holdfast doctor tells more", "directory", dir, "file_system", m.Kind)
		}
	}
}

// close closes what open has opened.
func (s *server) close() error {
	s.schedule.close()
	s.closings.close()
	s.ties.close()
	s.unfollow()
	return s.db.Close()
}

// open opens the database of a configuration with sinks, or, for a look at it,
// without. Closing them twice does no harm.
func open(c *config.Config, log *slog.Logger, sinks []holdfast.Sink) (*holdfast.DB, error) {
	o, err := options(c, log, sinks)
	if err != nil {
		return nil, err
	}
	return openWith(c, o)
}

// options returns how the data directory of a configuration is opened.
func options(c *config.Config, log *slog.Logger, sinks []holdfast.Sink) (o holdfast.Options, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	o = holdfast.Options{FixedTables: !c.Tables.Auto, Zone: c.Tables.Zone.Location(), Log: log, Undo: time.Duration(c.Roll.Undo), KeepBudgets: !c.Roll.Shrink, ManifestDir: string(c.ManifestDir)}
	o.Check, o.Fold = checks(c)
	o.Dedupe = repeats(c)
	o.Requests = holdfast.Requests{Window: time.Duration(c.HTTP.Idempotency.Window), Keys: c.HTTP.Idempotency.Keys}
	for _, name := range c.StreamNames() {
		one := streamOf(name, c.Streams[name])
		if one.Cold, err = coldTier(c, c.Streams[name]); err != nil {
			return o, err
		}
		o.Streams = append(o.Streams, one)
	}
	if len(sinks) > 0 {
		o.Sinks, o.Scrub = sinks, holdfast.Scrub{Rate: int64(c.Scrub), Pause: time.Duration(c.ScrubPause)}
	}
	return o, nil
}

func openWith(c *config.Config, o holdfast.Options) (*holdfast.DB, error) {
	db, err := holdfast.Open(c.Data, o)
	if err != nil {
		return nil, err
	}
	if err := declare(db, c); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// limits returns what a stream may keep. A history of 0 that was asked for
// keeps as little as can be; to the library 0 means all.
func limits(s *config.Stream) holdfast.Limits {
	history := max(1, int64(s.History))
	if s.Warm.Path != "" { // all that the tiers have room for
		history = 0
	}
	return holdfast.Limits{
		Budget: int64(s.Hot.Budget()), MinFree: s.MinFree.Of, History: history,
		KeepDelivered: s.Keep == config.KeepDelivered, Wait: time.Duration(s.Wait),
		DropOldest: s.OnFull == config.DropOldest,
		Keep:       holdfast.Keep{Files: s.KeepAtLeast.Files, Bytes: int64(s.KeepAtLeast.Bytes), Age: time.Duration(s.KeepAtLeast.Age)},
	}
}

// stop closes the doors, drains, and closes the database.
func (s *server) stop() error {
	hurried, rest := hurry()
	defer rest()
	s.notify(systemd.SdNotifyStopping)
	s.log.Info("stopping", "drain", s.cfg.Drain.String())
	ctx, cancel := context.WithTimeout(hurried, time.Duration(s.cfg.Drain))
	defer cancel()
	s.closeSources()
	s.closeDoors(hurried)
	// What is left is told below, sink by sink.
	_ = s.db.Drain(ctx)
	left := uint64(0)
	for _, k := range s.db.Status().Sinks {
		if k.LagRows > 0 {
			left += k.LagRows
			s.log.Warn("stopped with rows left; they are kept", "sink", k.Name, "stream", k.Stream, "rows", k.LagRows, "state", k.State, "error", k.LastError)
		}
	}
	err := s.close()
	if err == nil {
		s.log.Info("stopped", "rows_left", left)
	}
	return err
}

// closeDoors lets what is under way end for half of the drain, so that as much
// is left for delivering it.
func (s *server) closeDoors(hurried context.Context) {
	ctx, cancel := context.WithTimeout(hurried, time.Duration(s.cfg.Drain)/2)
	defer cancel()
	s.doors.close(ctx)
}

// ready returns why rows cannot be taken, nil while they can.
func (s *server) ready() error {
	for _, st := range s.db.Status().Streams {
		if st.State != "ok" {
			return fault.New(fault.CannotConnectNow, "stream %q is %s: %s", st.Name, st.State, st.Error).
				WithHint("holdfast status tells more")
		}
	}
	return s.doors.down()
}
