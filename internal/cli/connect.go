package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

// settings are the flags that say which configuration and data are meant.
type settings struct {
	file string
	data string

	reads bool // the verb changes nothing
}

// flags adds --config and --data to cmd.
func (s *settings) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "config", "", "configuration `file` (HOLDFAST_CONFIG); without one, the defaults")
	cmd.Flags().StringVar(&s.data, "data", "", "data `directory` (HOLDFAST_DATA); goes before the configuration's")
}

// load returns the configuration: flags go before the environment, and that
// before the file. o holds what further flags say.
func (s *settings) load(env *Env, o config.Override) (*config.Config, error) {
	c := config.Default()
	if file := first(s.file, env.Getenv("HOLDFAST_CONFIG")); file != "" {
		var err error
		if c, err = config.Load(file); err != nil {
			return nil, err
		}
	}
	o.Data = first(o.Data, s.data, env.Getenv("HOLDFAST_DATA"))
	o.Log = first(o.Log, env.Getenv("HOLDFAST_LOG"))
	if err := c.Override(o); err != nil {
		return nil, err
	}
	return c, nil
}

// named tells whether a flag or the environment says which data is meant.
func (s *settings) named(env *Env) bool {
	return first(s.file, s.data, env.Getenv("HOLDFAST_CONFIG"), env.Getenv("HOLDFAST_DATA")) != ""
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// connect returns the server that has the data directory open, or the
// directory itself where none has.
func (s *settings) connect(env *Env) (Database, error) {
	c, err := s.load(env, config.Override{})
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(c.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.UndefinedObject, "data directory %q does not exist", c.Data).
			WithHint("name it with --data; holdfast serve makes it")
	case err != nil:
		return nil, fmt.Errorf("look at data directory %q: %w", c.Data, err)
	case !info.IsDir():
		return nil, fault.New(fault.UndefinedObject, "data %q is not a directory", c.Data)
	}
	path := c.AdminSocket()
	err = answers(env.Context, path)
	if err == nil {
		server := httpapi.NewUnix(path)
		if err := server.Alive(env.Context); err != nil {
			return nil, errors.Join(err, server.Close())
		}
		return server, nil
	}
	// A path that is too long for a socket is EINVAL: no server can listen there,
	// and the lock tells if one should have the directory all the same.
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("reach the server at %q: %w", path, err)
	}
	if env.Offline == nil {
		return nil, fault.New(fault.ConnectionFailure, "no server answers at %q", path).WithHint("start it with holdfast serve")
	}
	db, err := env.Offline(env.Context, c)
	if s.reads && env.Reading != nil && errors.Is(err, syscall.EROFS) {
		return env.Reading(env.Context, c)
	}
	return db, err
}

// local is with for verbs that only the server's own user may use: where an
// address is given instead, the server there says which data directory it has,
// and is asked through the socket in it.
func (s *settings) local(env *Env, addr string, do func(Database) error) error {
	if addr == "" {
		return s.with(env, do)
	}
	if s.data != "" {
		return usage("give one of them", "--http and --data name two servers")
	}
	c := httpapi.NewTCP(addr)
	defer c.Close()
	st, err := c.Status(env.Context)
	if err != nil {
		return err
	}
	db := httpapi.NewUnix(config.AdminSocket(st.Data))
	defer db.Close()
	if own, err := db.Status(env.Context); err != nil || !own.Started.Equal(st.Started) {
		return fault.New(fault.ConnectionFailure, "the server at %q has data directory %q, and cannot be reached through the socket in it", addr, st.Data).
			Because(err).WithHint("run this on its machine and as its user, and name the directory with --data")
	}
	return do(db)
}

// answers returns nil where a server listens on the socket.
func answers(ctx context.Context, path string) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// with connects, calls do, and gives the connection up.
func (s *settings) with(env *Env, do func(Database) error) (err error) {
	db, err := s.connect(env)
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	return do(db)
}
