package mywire

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/certs"
	"holdfast/internal/fault"
)

// What of MySQL's protocol is spoken, as bits of both sides' capabilities.
const (
	canLongPassword = 1 << 0
	canFoundRows    = 1 << 1
	canLongFlag     = 1 << 2
	canDatabase     = 1 << 3
	canIgnoreSpace  = 1 << 8
	can41           = 1 << 9
	canTLS          = 1 << 11
	canTransactions = 1 << 13
	canSecure       = 1 << 15
	canPlugin       = 1 << 19
	canAttributes   = 1 << 20
	canLengthAuth   = 1 << 21

	offered = canLongPassword | canFoundRows | canLongFlag | canDatabase | canIgnoreSpace | can41 |
		canTransactions | canSecure | canPlugin | canAttributes | canLengthAuth
)

// The ways of logging in, by the names of MySQL's plugins.
const (
	native    = "mysql_native_password"
	sha2      = "caching_sha2_password"
	cleartext = "mysql_clear_password"
)

const (
	nonceSize     = 20
	charsetUTF8   = 45 // utf8mb4_general_ci
	handshakeSize = 32 // of the part before the user's name
	// serverVersion begins with a version that drivers know how to talk to.
	serverVersion = "8.0.36-Holdfast"
	maxUser       = 255
	maxPassword   = 1 << 10
)

// newNonce returns bytes for a scramble. MySQL ends them at a NUL, and some
// clients at a dollar.
func newNonce() ([]byte, error) {
	b := make([]byte, nonceSize)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	for i, c := range b {
		if c &= 0x7f; c == 0 || c == '$' {
			c++
		}
		b[i] = c
	}
	return b, nil
}

// hello is what a client says of itself.
type hello struct {
	answer []byte // to the greeting's nonce
	plugin string
}

// login greets, encrypts where the client asks for it, and finds out who the
// client is.
func (s *session) login() error {
	nonce, err := newNonce()
	if err != nil {
		return err
	}
	s.greet(nonce)
	h, err := s.readHello()
	if err != nil {
		return err
	}
	if err := s.authenticate(h, nonce); err != nil {
		return err
	}
	if err := s.guest.Admit(s.who.Name()); err != nil {
		s.srv.stats.refused.Add(1)
		return err
	}
	s.ok(0, 0)
	if s.in.flush() != nil {
		return errClosed
	}
	return nil
}

// greet puts the first packet.
func (s *session) greet(nonce []byte) {
	can := uint64(offered)
	if s.srv.o.TLS != nil {
		can |= canTLS
	}
	b := append([]byte{10}, serverVersion...)
	b = appendNumber(append(b, 0), uint64(s.id), 4)
	b = append(append(b, nonce[:8]...), 0)
	b = append(appendNumber(b, can&0xffff, 2), charsetUTF8)
	b = appendNumber(b, uint64(s.status()), 2)
	b = append(appendNumber(b, can>>16, 2), nonceSize+1)
	b = append(b, make([]byte, 10)...)
	b = append(append(b, nonce[8:]...), 0)
	s.in.put(append(append(b, native...), 0))
}

// reply sends what there is and reads the client's answer to it.
func (s *session) reply() ([]byte, error) {
	if s.in.flush() != nil {
		return nil, errClosed
	}
	n, err := s.in.header()
	if err == nil {
		var body []byte
		if body, err = s.in.body(n); err == nil {
			return body, nil
		}
	}
	if fault.Code(err) != "" {
		return nil, err
	}
	return nil, errClosed
}

// readHello reads the answer to the greeting, before and after TLS.
func (s *session) readHello() (hello, error) {
	body, err := s.reply()
	if err != nil {
		return hello{}, err
	}
	r := &reader{b: body}
	s.capabilities = uint32(r.number(4))
	if s.capabilities&can41 == 0 || s.capabilities&canSecure == 0 {
		return hello{}, refuse(1251, "08004", "client does not support the authentication protocol (hint: it is too old)")
	}
	if s.capabilities&canTLS != 0 && !s.secured {
		if s.srv.o.TLS == nil || len(body) != handshakeSize {
			return hello{}, errMalformed
		}
		if err := s.encrypt(); err != nil {
			return hello{}, err
		}
		return s.readHello()
	}
	r.bytes(handshakeSize - 4) // largest packet, character set, and nothing
	user := string(r.terminated())
	var h hello
	if s.capabilities&canLengthAuth != 0 {
		h.answer = bytes.Clone(r.text())
	} else {
		h.answer = bytes.Clone(r.bytes(r.number(1)))
	}
	if s.capabilities&canDatabase != 0 && len(r.b) > 0 {
		s.database = string(r.terminated())
	}
	h.plugin = native
	if s.capabilities&canPlugin != 0 && len(r.b) > 0 {
		h.plugin = string(r.terminated())
	}
	if r.bad || len(user) > maxUser || len(s.database) > maxUser {
		return hello{}, errMalformed
	}
	s.user = user
	return h, nil // what follows are attributes, which mean nothing here
}

// encrypt goes on within TLS. What came already belongs to the handshake, so
// that nothing sent ahead of it in clear can be taken for a part of what follows.
func (s *session) encrypt() error {
	t := tls.Server(&ahead{Conn: s.conn, r: s.in.r}, s.srv.o.TLS())
	if err := t.Handshake(); err != nil {
		s.srv.o.Logger.Debug("TLS handshake", "remote", s.conn.RemoteAddr(), "error", err)
		return errClosed
	}
	state := t.ConnectionState()
	seq := s.in.seq
	s.in.shrink()
	s.in = newPackets(t, s.srv.memory)
	s.in.seq, s.secured, s.certificate = seq, true, certs.CommonName(&state)
	return nil
}

// authenticate finds out who the client is. Whatever is wrong with a user, a
// client that does not know the password learns only that: what is asked of it
// depends on the connection and the client, never on the user.
func (s *session) authenticate(h hello, nonce []byte) error {
	o := &s.srv.o
	policy := o.Access.Policy()
	if policy.Open() {
		return nil
	}
	if o.TLS != nil && !s.secured && !s.from.IsLoopback() {
		return fault.New(fault.InvalidAuthorization, "the connection is not encrypted").
			WithHint("connect with --ssl-verify-server-cert, or at least --ssl")
	}
	if err := o.Access.Failures.Check(s.from, time.Now()); err != nil {
		return err
	}
	if who, ok := policy.ByCertificate(s.certificate); ok && who.Name() == s.user {
		s.who = who
		return nil
	}
	who, ok, err := s.prove(policy, h, nonce)
	if err != nil {
		return err
	}
	if !ok {
		o.Access.Failures.Failed(s.from, time.Now())
		o.Logger.Warn("login refused", "door", "mysql", "user", s.user, "remote", s.conn.RemoteAddr().String())
		return s.denied()
	}
	s.who = who
	return nil
}

// denied is the same for every user of one connection.
func (s *session) denied() error {
	hint := ""
	if !s.secured {
		hint = " (hint: without TLS only users with a password_file can log in here; a verifier can only be checked over TLS)"
	}
	return refuse(erAccessDenied, "28000", "Access denied for user '%s'@'%s' (using password: YES)%s", s.user, s.from, hint)
}

// prove checks the password: itself within TLS, a scramble of it outside.
func (s *session) prove(policy *auth.Policy, h hello, nonce []byte) (who auth.Who, ok bool, err error) {
	if s.secured {
		password, err := s.password(h, nonce)
		if err != nil {
			return who, false, err
		}
		who, ok = policy.Login(s.user, string(password), s.certificate)
		return who, ok, nil
	}
	if h.plugin != native && h.plugin != sha2 {
		if h.answer, err = s.switchTo(native, nonce); err != nil {
			return who, false, err
		}
		h.plugin = native
	}
	scramble := auth.Scramble{SHA2: h.plugin == sha2, Nonce: nonce, Answer: h.answer}
	if who, ok = policy.LoginScrambled(s.user, scramble); ok && h.plugin == sha2 {
		s.in.put([]byte{1, 3}) // known, and right
	}
	return who, ok, nil
}

// password asks for the password in clear, which TLS hides.
func (s *session) password(h hello, nonce []byte) ([]byte, error) {
	answer := h.answer
	if h.plugin != cleartext {
		if h.plugin != sha2 {
			if _, err := s.switchTo(sha2, nonce); err != nil {
				return nil, err
			}
		}
		s.in.put([]byte{1, 4}) // the whole exchange
		var err error
		if answer, err = s.reply(); err != nil {
			return nil, err
		}
	}
	answer = bytes.TrimSuffix(answer, []byte{0})
	if len(answer) > maxPassword {
		return nil, errMalformed
	}
	return bytes.Clone(answer), nil
}

// switchTo asks for an answer by another plugin.
func (s *session) switchTo(plugin string, nonce []byte) ([]byte, error) {
	if s.capabilities&canPlugin == 0 {
		return nil, refuse(1251, "08004", "client does not support %s (hint: it is too old)", plugin)
	}
	b := append(append([]byte{0xfe}, plugin...), 0)
	s.in.put(append(append(b, nonce...), 0))
	answer, err := s.reply()
	if errors.Is(err, errClosed) {
		return nil, err // it does not know the plugin
	}
	return bytes.Clone(answer), err
}
