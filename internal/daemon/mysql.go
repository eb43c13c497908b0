package daemon

import (
	"crypto/tls"
	"net"
	"time"

	"holdfast"
	"holdfast/internal/mywire"
)

// myStore is the database as the MySQL wire asks for it.
type myStore struct {
	*holdfast.DB
	in *intake
}

var _ mywire.Store = myStore{}

// Begin implements mywire.Store.
func (s myStore) Begin() mywire.Tx { return s.in.begin(s.DB.Begin()) }

// openMySQL opens the door of MySQL's protocol, where l is not nil.
func (s *server) openMySQL(l net.Listener) {
	if l == nil {
		return
	}
	d := s.doors
	d.addresses.MySQL = l.Addr().String()
	d.my = mywire.New(mywire.Options{
		Store: myStore{s.db, &s.intakes.mysql}, Logger: s.log, Gate: d.gate, StartupTimeout: time.Duration(s.cfg.Limits.Login),
		Stalled: time.Duration(s.cfg.Limits.Stalled), Memory: int64(s.cfg.Limits.Memory), TableVersion: tableVersion(s.cfg),
		Zone: s.cfg.Tables.Zone.Location(), Access: &s.access.guard, TLS: s.access.mysqlTLS(),
	})
	d.serve("mysql", func() error { return d.my.Serve(l) })
}

// mysqlTLS is mywire's Options.TLS; nil without TLS.
func (a *access) mysqlTLS() func() *tls.Config {
	if a.certs == nil {
		return nil
	}
	return func() *tls.Config { return a.certs.Current().Config() }
}
