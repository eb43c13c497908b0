package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/fault"
	"holdfast/internal/gate"
	"holdfast/internal/httpapi"
	"holdfast/internal/mywire"
	"holdfast/internal/pgwire"
)

const (
	// maxSocketPath is the longest path of a unix socket, in bytes: the
	// smallest limit of the systems that we run on, less its terminator.
	maxSocketPath = 103
	// maxAdmins bounds the connections of the admin socket, which do not count
	// with those of clients: who looks after a full server must get in. Few
	// descriptors lower it.
	maxAdmins = 64
)

// doors are the listeners and what serves them.
type doors struct {
	addresses httpapi.Listen
	pg        *pgwire.Server
	my        *mywire.Server // nil where it is off
	web       *http.Server
	admin     *http.Server
	registry  *prometheus.Registry
	gate      *gate.Gate // of pg and web together
	admins    atomic.Int64
	end       context.CancelFunc // of every HTTP request
	broken    chan error         // gets what a door broke down with
	trouble   atomic.Pointer[error]
	wg        sync.WaitGroup // one goroutine per listener
}

// listeners are the sockets that are bound; my is nil where MySQL's is off.
type listeners struct{ pg, web, my, admin net.Listener }

func (l *listeners) close() error {
	var errs []error
	for _, one := range []net.Listener{l.pg, l.web, l.my, l.admin} {
		if one != nil {
			errs = append(errs, one.Close())
		}
	}
	return errors.Join(errs...)
}

// listen binds the sockets of the configuration.
func (s *server) listen() (l listeners, err error) {
	if l.pg, err = net.Listen("tcp", string(s.cfg.Listen.PG)); err == nil {
		l.web, err = net.Listen("tcp", string(s.cfg.Listen.HTTP))
	}
	if err == nil && s.cfg.Listen.MySQL != "" {
		l.my, err = net.Listen("tcp", string(s.cfg.Listen.MySQL))
	}
	if err != nil {
		return l, errors.Join(fault.New(fault.CannotConnectNow, "a door cannot be opened").Because(err).
			WithHint("another program may have the address; choose others with --pg and --http"), l.close())
	}
	if l.admin, err = openAdmin(s.cfg.AdminSocket(), s.log); err != nil {
		return l, errors.Join(err, l.close())
	}
	return l, nil
}

// openDoors opens all doors; from then on clients are served.
func (s *server) openDoors() error {
	room, err := s.share(s.cfg)
	if err != nil {
		return err
	}
	if err := s.openAccess(); err != nil {
		return err
	}
	l, err := s.listen()
	if err != nil {
		return err
	}
	d := &doors{
		addresses: httpapi.Listen{PG: l.pg.Addr().String(), HTTP: l.web.Addr().String()},
		broken:    make(chan error, 4),
	}
	s.doors = d
	s.showConfig()
	d.gate = gate.New(s.cfg.Limits.Gate(room.clients, room.starting))
	d.gate.Watch(func() { s.memory.fit(d.connections) })
	d.pg = pgwire.New(pgwire.Options{
		Store: pgStore{s.db, &s.intakes.pg}, Logger: s.log, Gate: d.gate, StartupTimeout: time.Duration(s.cfg.Limits.Login),
		Stalled: time.Duration(s.cfg.Limits.Stalled), Memory: int64(s.cfg.Limits.Memory), TableVersion: tableVersion(s.cfg), Zone: string(s.cfg.Tables.Zone),
		Access: &s.access.guard, TLS: s.access.encryption(), Console: console{s},
	})
	registry := prometheus.NewRegistry()
	d.registry = registry
	registry.MustRegister(collector{s}, repeated{s.db}, s.closings)
	api := httpapi.New(httpapi.Options{
		Store: webStore{s.db, &s.intakes.http}, Admin: admin{db: s.db, server: s}, Registry: registry, Log: s.log,
		Hosts: hosts(string(s.cfg.Listen.HTTP)), Named: s.access.names, Access: &s.access.guard, MaxBody: int64(s.cfg.HTTP.MaxBody),
		Stalled: time.Duration(s.cfg.Limits.Stalled),
	})
	ctx, end := context.WithCancel(context.Background())
	d.end = end
	d.web = httpapi.Server(ctx, api.Public(), s.log)
	d.web.ReadHeaderTimeout = time.Duration(s.cfg.Limits.Login)
	d.admin = httpapi.Server(ctx, api.Private(), s.log)
	s.openMySQL(l.my)
	d.serve("pg", func() error { return d.pg.Serve(context.Background(), l.pg) })
	d.serve("http", func() error {
		return d.web.Serve(s.access.web(httpapi.Guarded(l.web, d.gate)))
	})
	d.serve("admin socket", func() error {
		enter := func() bool {
			if d.admins.Add(1) > int64(room.admins) {
				d.admins.Add(-1)
				return false
			}
			return true
		}
		return d.admin.Serve(httpapi.Limit(l.admin, enter, func() { d.admins.Add(-1) }))
	})
	return nil
}

// hosts returns the name under which the HTTP door was configured: a browser
// may use it.
func hosts(address string) []string {
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		return []string{host}
	}
	return nil
}

// serve runs one door until it is closed; any other end is told.
func (d *doors) serve(name string, run func() error) {
	d.wg.Go(func() {
		err := run()
		if err == nil || errors.Is(err, http.ErrServerClosed) {
			return
		}
		err = fmt.Errorf("serve %s: %w", name, err)
		d.trouble.CompareAndSwap(nil, &err)
		d.broken <- err
	})
}

// connections returns how many clients are connected.
func (d *doors) connections() int {
	open, waiting := d.gate.Count()
	return open + waiting
}

// down returns why a door is closed that should be open.
func (d *doors) down() error {
	if err := d.trouble.Load(); err != nil {
		return fault.New(fault.CannotConnectNow, "a door is closed").Because(*err).WithHint("restart the server")
	}
	return nil
}

// close closes the doors, lets what is under way end until ctx does, and
// returns when nobody is connected any more.
func (d *doors) close(ctx context.Context) {
	d.end()
	var wg sync.WaitGroup
	// That some clients had to be cut off is no error of the stop.
	wg.Go(func() { _ = d.pg.Shutdown(ctx) })
	if d.my != nil {
		wg.Go(func() { _ = d.my.Shutdown(ctx) })
	}
	for _, h := range []*http.Server{d.web, d.admin} {
		wg.Go(func() {
			if h.Shutdown(ctx) != nil {
				_ = h.Close()
			}
		})
	}
	wg.Wait()
	d.wg.Wait()
}
