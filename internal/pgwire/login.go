package pgwire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/auth"
	"holdfast/internal/certs"
	"holdfast/internal/fault"
	"holdfast/row"
)

// ALPN is PostgreSQL's name for its protocol within TLS.
const ALPN = "postgresql"

// identity is what a session knows of who it serves.
type identity struct {
	secured     bool   // by TLS
	binding     []byte // of the TLS connection to the login
	certificate string // common name of the client's, which was verified
	who         auth.Who

	// What the last check found, so that each row costs three comparisons.
	by *auth.Policy
	to *row.Schema
}

// errDirect says that a client began with TLS, as libpq 17 can.
var errDirect = errors.New("client begins with TLS")

// ahead is a connection whose first bytes were read already.
type ahead struct {
	net.Conn
	bytes []byte
}

// Read returns what was read already, and then what comes.
func (a *ahead) Read(b []byte) (int, error) {
	if len(a.bytes) == 0 {
		return a.Conn.Read(b)
	}
	n := copy(b, a.bytes)
	a.bytes = a.bytes[n:]
	return n, nil
}

// encrypt goes on within TLS. What was read before belongs to the handshake of
// a client that began with it, and must else not be there.
func (s *session) encrypt(direct bool) error {
	config, binding := s.srv.tls()
	under := s.conn
	if direct {
		under = &ahead{Conn: s.conn, bytes: bytes.Clone(s.in.buf[s.in.rp:s.in.wp])}
	}
	t := tls.Server(under, config)
	if err := t.Handshake(); err != nil {
		s.srv.log.Debug("TLS handshake", "remote", s.conn.RemoteAddr(), "error", err)
		return errClosed
	}
	state := t.ConnectionState()
	s.line, s.secured, s.binding, s.certificate = t, true, binding, certs.CommonName(&state)
	s.in.release()
	s.in = newFrames(t, s.srv.memory)
	if direct && state.NegotiatedProtocol != ALPN {
		return fault.New(fault.ProtocolViolation, "received direct SSL connection request without ALPN protocol negotiation extension").
			WithHint("a client that begins with TLS must ask for the protocol %q", ALPN)
	}
	return nil
}

// closeWrite tells the client that nothing more comes, and reports whether it
// could.
func (s *session) closeWrite() bool {
	if t, ok := s.line.(*tls.Conn); ok && t.CloseWrite() != nil {
		return false
	}
	c, ok := s.conn.(interface{ CloseWrite() error })
	return ok && c.CloseWrite() == nil
}

// authenticate finds out who the client is. Whatever is wrong with a user, a
// client that does not know the password learns only that.
func (s *session) authenticate() error {
	policy := s.srv.access.Policy()
	if policy.Open() {
		return nil
	}
	if s.srv.tls != nil && !s.secured && !s.from.IsLoopback() {
		return fault.New(fault.InvalidAuthorization, "the connection is not encrypted").WithHint("connect with sslmode=verify-full, or at least require")
	}
	if err := s.srv.access.Failures.Check(s.from, time.Now()); err != nil {
		return err
	}
	e, who, done := policy.Begin(auth.Client{User: s.user, Certificate: s.certificate, Binding: s.binding})
	if done {
		s.who = who
		return nil
	}
	who, err := s.exchange(e)
	if err != nil {
		var f *fault.Error
		if errors.As(err, &f) {
			s.srv.access.Failures.Failed(s.from, time.Now())
			s.srv.log.Warn("login refused", "user", s.user, "remote", s.conn.RemoteAddr().String(), "code", f.Code, "reason", f.Message)
		}
		return err
	}
	s.who = who
	return nil
}

// exchange speaks SCRAM with the client.
func (s *session) exchange(e *auth.Exchange) (auth.Who, error) {
	s.send(&pgproto3.AuthenticationSASL{AuthMechanisms: e.Mechanisms()})
	body, err := s.reply()
	if err != nil {
		return auth.Who{}, err
	}
	w := &wire{b: body}
	mechanism := string(w.text())
	size := w.int32()
	if w.bad || int(size) != len(w.b) {
		return auth.Who{}, fault.New(fault.ProtocolViolation, "malformed SASL response")
	}
	challenge, err := e.First(mechanism, w.b)
	if err != nil {
		return auth.Who{}, err
	}
	s.send(&pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)})
	if body, err = s.reply(); err != nil {
		return auth.Who{}, err
	}
	proof, who, err := e.Final(body)
	if err != nil {
		return auth.Who{}, err
	}
	s.send(&pgproto3.AuthenticationSASLFinal{Data: []byte(proof)})
	return who, nil
}

// reply sends what there is and reads the client's answer to it. Nothing but
// that is read of a client that has not logged in.
func (s *session) reply() ([]byte, error) {
	if s.flush() != nil {
		return nil, errClosed
	}
	kind, n, err := s.in.next()
	switch {
	case fault.Code(err) != "":
		return nil, err
	case err != nil:
		return nil, errClosed // psql leaves here to ask for the password
	case kind != 'p':
		return nil, fault.New(fault.ProtocolViolation, "expected SASL response, got message type %d", kind)
	}
	body, err := s.in.body(n)
	if err != nil {
		return nil, errClosed
	}
	return body, nil
}

// allow returns nil where the user may write to table.
func (s *session) allow(table string) error { return s.srv.access.Policy().Allow(s.who, table) }

// allowed is allow for each row: a grant that has gone ends a prepared
// statement and a COPY as well.
func (s *session) allowed(schema *row.Schema) error {
	p := s.srv.access.Policy()
	if s.by == p && s.to == schema {
		return nil
	}
	if err := p.Allow(s.who, schema.Table); err != nil {
		return err
	}
	s.by, s.to = p, schema
	return nil
}

// columns is the store's Columns for tables that the user may write to; one
// learns nothing of others.
func (s *session) columns(table string) ([]row.Column, error) {
	if err := s.allow(table); err != nil {
		return nil, err
	}
	return s.srv.store.Columns(table)
}

// schema is the store's Schema, likewise.
func (s *session) schema(table string, columns []row.Column) (*row.Schema, error) {
	if err := s.allow(table); err != nil {
		return nil, err
	}
	return s.srv.store.Schema(table, columns)
}

// declare is the store's Declare, likewise.
func (s *session) declare(table string, columns []Column) error {
	if err := s.allow(table); err != nil {
		return err
	}
	return s.srv.store.Declare(table, columns)
}
