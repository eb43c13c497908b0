package daemon

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/certs"
	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/pgwire"
)

// access is who may come in, and how what they say is kept from others.
type access struct {
	guard  auth.Guard
	secret []byte
	certs  *certs.Keeper // nil without TLS
}

// openAccess reads the users and the certificate of a configuration.
func (s *server) openAccess() error {
	secret, err := loginKey(filepath.Join(s.cfg.Data, "login.key"))
	if err != nil {
		return err
	}
	s.access = &access{secret: secret}
	if err := s.access.set(s.cfg); err != nil {
		return err
	}
	if !s.cfg.TLS.On() {
		return nil
	}
	trouble := func(err error) { s.log.Error("the new certificate is refused, the old one stays", "error", err) }
	if s.access.certs, err = certs.Open(s.cfg.TLS.Files(), trouble); err != nil {
		return err
	}
	s.warnExpiry()
	return nil
}

// soon is how long before its end a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

func (s *server) warnExpiry() {
	if end := s.access.certs.Current().Expires(); time.Until(end) < soon {
		s.log.Warn("the certificate ends soon, or has ended", "cert", s.cfg.TLS.Cert, "end", end)
	}
}

// set puts the users and tokens of c in force.
func (a *access) set(c *config.Config) error {
	p, err := c.Policy(a.secret)
	if err == nil {
		a.guard.Set(p)
	}
	return err
}

// reloadAccess takes over users, tokens and what the certificate's files hold
// now. What cannot be read stays as it was.
func (s *server) reloadAccess(next *config.Config) {
	if err := s.access.set(next); err != nil {
		s.log.Error("reload: users and tokens stay as they were", "error", err)
	} else {
		s.cfg.Users, s.cfg.Tokens = next.Users, next.Tokens
	}
	if s.access.certs == nil {
		return
	}
	if err := s.access.certs.Reload(); err != nil {
		s.log.Error("reload: the certificate stays as it was", "error", err)
	}
	s.warnExpiry()
}

// encryption is pgwire's Options.TLS; nil without TLS.
func (a *access) encryption() func() (*tls.Config, []byte) {
	if a.certs == nil {
		return nil
	}
	return func() (*tls.Config, []byte) {
		m := a.certs.Current()
		return m.Config(pgwire.ALPN), m.Binding()
	}
}

// web wraps the listener of HTTP; with TLS nothing else is spoken there.
func (a *access) web(l net.Listener) net.Listener {
	if a.certs == nil {
		return l
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return a.certs.Current().Config("http/1.1"), nil
		},
	})
}

// names tells whether the certificate is one for host.
func (a *access) names(host string) bool { return a.certs != nil && a.certs.Current().Names(host) }

const loginKeySize = 32

// loginKey returns the bytes that make users who do not exist look like others,
// made at the first start: were they new at each, the difference would show.
func loginKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err == nil && len(key) == loginKeySize {
		return key, nil
	}
	if errors.Is(err, syscall.EISDIR) {
		return nil, fault.New(fault.IOError, "there is a directory where the file %q belongs", file).WithHint("move it away: the file is made anew")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %q: %w", file, err)
	}
	key = make([]byte, loginKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	// A crash that leaves half of it makes the next start write it anew.
	if err := os.WriteFile(file, key, 0o600); err != nil {
		return nil, fmt.Errorf("keep what logins need: %w", err)
	}
	return key, nil
}
