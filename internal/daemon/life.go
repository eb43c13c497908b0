package daemon

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"holdfast/internal/config"
)

// listenToSignals takes the signals over. It is done before anybody is told that
// the server is ready: until then HUP ends the process.
func listenToSignals() chan os.Signal {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return signals
}

// hurry returns a context that ends with the next TERM or INT: who asks for a stop a
// second time does not want to wait for what can be delivered later. A third one
// ends the process.
func hurry() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(asked)
		select {
		case <-asked:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// live does what signals ask until ctx ends or a door breaks down, and returns
// why it did.
func (s *server) live(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.doors.broken:
			s.log.Error("a door broke down", "error", err)
			return err
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				s.reload()
			case syscall.SIGUSR1:
				s.rotate()
			case syscall.SIGUSR2:
				s.seal(ctx)
			}
		}
	}
}

// rotate makes sinks close the files that they keep open for other programs.
func (s *server) rotate() {
	names, err := s.db.RotateSinks("")
	if err != nil {
		s.log.Error("rotate files", "error", err)
	}
	s.log.Info("USR1: files are closed, and opened again when a row comes", "sinks", strings.Join(names, " "))
}

// sealTimeout bounds how long a signal is worked on, so that the next is heard.
const sealTimeout = 30 * time.Second

func (s *server) seal(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	if err := s.db.Seal(ctx); err != nil {
		s.log.Error("seal segments", "error", err)
		return
	}
	s.log.Info("the active segments are sealed")
}

// reload takes over what can be changed while the server runs. A configuration
// that is wrong changes nothing.
func (s *server) reload() {
	if s.o.Reload == nil {
		s.log.Info("nothing to reload")
		return
	}
	s.notify(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
	defer s.notify(systemd.SdNotifyReady)
	next, err := s.o.Reload()
	if err == nil {
		err = next.Check()
	}
	if err != nil {
		s.log.Error("reload: the configuration is refused, the old one stays", "error", err)
		return
	}
	changed, restart := []string{}, []string{}
	for _, c := range config.Diff(s.cfg, next) {
		if c.Restart {
			restart = append(restart, c.Key)
		} else {
			changed = append(changed, c.Key)
		}
	}
	s.apply(next)
	s.log.Info("reloaded", "changed", strings.Join(changed, " "))
	if len(restart) > 0 {
		s.log.Warn("reload: these values need a restart", "keys", strings.Join(restart, " "))
	}
}

// apply takes next over, as far as that can be while running.
func (s *server) apply(next *config.Config) {
	s.db.SetAutoTables(next.Tables.Auto)
	s.resize(next)
	for name, was := range s.cfg.Streams {
		is := next.Streams[name]
		if is == nil {
			continue
		}
		l := limits(is)
		l.Budget = int64(was.Hot.Budget()) // what resize has taken over of it
		if err := s.db.SetLimits(name, l); err != nil {
			s.log.Error("reload: set limits", "stream", name, "error", err)
		}
		was.History, was.MinFree, was.Wait, was.Keep = is.History, is.MinFree, is.Wait, is.Keep
		was.OnFull, was.KeepAtLeast = is.OnFull, is.KeepAtLeast
	}
	if room, err := s.share(next); err == nil { // a start with as many streams and sinks had enough
		s.doors.gate.SetLimits(next.Limits.Gate(room.clients, room.starting))
	}
	s.reloadAccess(next)
	if s.o.Level != nil {
		s.o.Level.Set(next.Log.Level.Slog())
	}
	defer s.showConfig()
	l, n := &s.cfg.Limits, next.Limits
	l.Starting, l.StartingPerAddress, l.PerAddress, l.PerUser = n.Starting, n.StartingPerAddress, n.PerAddress, n.PerUser
	s.cfg.Tables.Auto, s.cfg.Drain, s.cfg.MaxConnections, s.cfg.Log.Level = next.Tables.Auto, next.Drain, next.MaxConnections, next.Log.Level
}
