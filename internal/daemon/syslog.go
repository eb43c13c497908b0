package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"holdfast"
	"holdfast/internal/certs"
	"holdfast/internal/config"
	"holdfast/internal/gate"
	"holdfast/internal/httpapi"
	"holdfast/internal/syslog"
	"holdfast/row"
)

// syslogDoor is a source that listens for syslog.
type syslogDoor struct {
	*syslog.Server
	listen []string
	drain  time.Duration
	wg     sync.WaitGroup // one goroutine per socket
}

// syslogSocket is one that is bound; one of both is nil.
type syslogSocket struct {
	stream  net.Listener
	packets *net.UDPConn
}

// syslogConnections is how many may send to one source at the same time, where
// nothing else is said.
const syslogConnections = 256

func openSyslog(s *server, name string, c *config.Source) (source, error) {
	log := s.log.With("source", name)
	connections := c.MaxConnections
	if connections == 0 {
		connections = syslogConnections
	}
	d := &syslogDoor{drain: time.Duration(s.cfg.Drain) / 2, Server: syslog.New(syslog.Options{
		Store: syslogStore{s.db}, Table: string(c.Table), MaxLine: int(c.MaxLine), Gate: gate.New(s.cfg.Limits.Gate(connections, s.cfg.Limits.Starting)),
		Allow: c.Networks(), Zone: s.cfg.Tables.Zone.Location(), Log: log,
	})}
	var sockets []syslogSocket
	var err error
	for _, e := range c.Listen {
		var one syslogSocket
		var addr net.Addr
		if one, addr, err = s.bindSyslog(e); err != nil {
			break
		}
		sockets = append(sockets, one)
		d.listen = append(d.listen, e.Kind()+":"+addr.String())
	}
	if err != nil {
		for _, one := range sockets {
			err = errors.Join(err, one.close())
		}
		return nil, err
	}
	for _, one := range sockets {
		d.wg.Go(func() {
			if err := one.serve(d.Server); err != nil {
				log.Error("syslog: a socket broke down", "error", err)
			}
		})
	}
	log.Info("source listens", "listen", d.listen)
	return d, nil
}

// bindSyslog binds one socket.
func (s *server) bindSyslog(e config.Endpoint) (one syslogSocket, at net.Addr, err error) {
	if e.Kind() == "udp" {
		to, err := net.ResolveUDPAddr("udp", string(e.Address()))
		if err != nil {
			return one, nil, err
		}
		if one.packets, err = net.ListenUDP("udp", to); err != nil {
			return one, nil, err
		}
		return one, one.packets.LocalAddr(), nil
	}
	if one.stream, err = net.Listen("tcp", string(e.Address())); err != nil {
		return one, nil, err
	}
	at = one.stream.Addr()
	if e.Kind() == "tls" {
		trouble := func(err error) { s.log.Error("the new certificate is refused, the old one stays", "error", err) }
		keeper, err := certs.Open(s.cfg.TLS.Files(), trouble)
		if err != nil {
			return one, nil, errors.Join(err, one.stream.Close())
		}
		one.stream = tls.NewListener(one.stream, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: syslogTLS(keeper)})
	}
	return one, at, nil
}

// syslogTLS returns how connections are served: where there is a CA for clients, a
// certificate is the only thing that a sender can be known by, so each needs one.
func syslogTLS(k *certs.Keeper) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := k.Current().Config()
		if c.ClientCAs != nil {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
		return c, nil
	}
}

func (one syslogSocket) serve(s *syslog.Server) error {
	if one.packets != nil {
		return s.ServePackets(one.packets)
	}
	return s.ServeStream(one.stream)
}

func (one syslogSocket) close() error {
	if one.packets != nil {
		return one.packets.Close()
	}
	return one.stream.Close()
}

// status implements source.
func (d *syslogDoor) status() httpapi.SourceStatus {
	st := d.Stats()
	out := httpapi.SourceStatus{
		State: "listening", LastError: st.Trouble, Rows: uint64(st.Rows), Rejects: uint64(st.Malformed), Bytes: uint64(st.Bytes),
		PendingBytes: st.WaitingBytes, OpenFiles: int(st.Conns), Listen: d.listen, Lost: uint64(st.Lost), Refused: uint64(st.Refused),
	}
	if st.Trouble != "" {
		out.State = "waiting"
	}
	out.Age(st.Oldest)
	return out
}

// close implements source.
func (d *syslogDoor) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), d.drain)
	defer cancel()
	d.Shutdown(ctx)
	d.wg.Wait()
	return nil
}

// syslogStore is the database as the door asks for it.
type syslogStore struct{ *holdfast.DB }

var _ syslog.Store = syslogStore{}

// Begin implements syslog.Store.
func (s syslogStore) Begin() syslog.Tx { return syslogTx{s.DB.Begin()} }

// syslogTx is a transaction as the door asks for it.
type syslogTx struct{ *holdfast.Tx }

// Malformed implements syslog.Tx.
func (t syslogTx) Malformed(table string, raw []byte, why, peer string) error {
	return t.InsertMalformed(holdfast.Line{Table: table, Raw: raw, Why: why, File: "syslog:" + peer})
}

// Commit implements syslog.Tx.
func (t syslogTx) Commit(ctx context.Context) error { return t.Tx.Commit(ctx, true) }

// Schema implements syslog.Store.
func (s syslogStore) Schema(table string, columns []row.Column) (*row.Schema, error) {
	return s.DB.Schema(table, columns)
}
