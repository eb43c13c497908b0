package pgwire

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
)

// Codes in the place of a protocol version.
const (
	codeCancel = 80877102
	codeSSL    = 80877103
	codeGSS    = 80877104
	version3   = 3 << 16
)

// notPostgres is said to a program that speaks HTTP.
const notPostgres = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
	"This is the PostgreSQL port of Holdfast. HTTP is served on a port of its own.\n"

// errAnswered ends a connection whose business is done.
var errAnswered = errors.New("request is answered")

// start reads what comes before the first message and answers it. Nothing is
// believed of the client yet: lengths are bounded, and time too.
func (s *session) start() error {
	var ssl, gss bool
	for {
		body, err := s.startPacket()
		if errors.Is(err, errDirect) {
			if err = s.encrypt(true); err == nil {
				ssl, gss = true, true
				continue
			}
		}
		if err != nil {
			return err
		}
		code := binary.BigEndian.Uint32(body)
		switch {
		case code == codeSSL && !ssl, code == codeGSS && !gss:
			ssl, gss = ssl || code == codeSSL, gss || code == codeGSS
			if s.in.buffered() > 0 {
				// Somebody in between could have put it there.
				return fault.New(fault.ProtocolViolation, "received unencrypted data after an encryption request")
			}
			answer := byte('N')
			if code == codeSSL && s.srv.tls != nil {
				answer = 'S'
			}
			s.out = append(s.out, answer)
			if err := s.flush(); err != nil {
				return errClosed
			}
			if answer == 'S' {
				ssl, gss = true, true
				if err := s.encrypt(false); err != nil {
					return err
				}
			}
		case code == codeCancel:
			s.cancelOther(body[4:])
			return errAnswered
		case code>>16 == 3:
			return s.login(code, body[4:])
		default:
			return fault.New(fault.FeatureNotSupported, "unsupported frontend protocol %d.%d: server supports 3.0", code>>16, code&0xffff)
		}
	}
}

// startPacket reads a packet without a type.
func (s *session) startPacket() ([]byte, error) {
	if err := s.in.need(4); err != nil {
		return nil, errClosed
	}
	head := s.in.buf[s.in.rp : s.in.rp+4]
	switch string(head) {
	case "GET ", "POST", "PUT ", "HEAD", "OPTI", "DELE", "PATC", "CONN", "PRI ":
		s.out = append(s.out, notPostgres...)
		return nil, errAnswered
	}
	if head[0] == 0x16 && head[1] == 3 { // TLS without asking first
		if s.srv.tls != nil && !s.secured {
			return nil, errDirect
		}
		return nil, errAnswered
	}
	size := binary.BigEndian.Uint32(head)
	s.in.rp += 4
	if size < 8 || size > maxStartup {
		return nil, fault.New(fault.ProtocolViolation, "invalid length of startup packet: %d", int32(size))
	}
	body, err := s.in.body(int(size) - 4)
	if err != nil {
		return nil, errClosed
	}
	return body, nil
}

// cancelOther passes a cancel request on. It is never answered, so that a
// guess learns nothing.
func (s *session) cancelOther(body []byte) {
	w := &wire{b: body}
	pid, key := uint32(w.int32()), uint32(w.int32())
	if w.end("cancel") == nil {
		s.srv.cancel(pid, key)
	}
}

// login reads the start-up parameters and says hello.
func (s *session) login(version uint32, body []byte) error {
	var unknown []string
	var given [][2]string
	w := &wire{b: body}
	for {
		if len(w.b) == 1 && w.b[0] == 0 {
			break
		}
		name, value := w.text(), w.text()
		if w.bad || len(name) == 0 {
			return fault.New(fault.ProtocolViolation, "invalid startup packet layout: expected terminator as last byte")
		}
		if err := errors.Join(checkText(name), checkText(value)); err != nil {
			return err
		}
		if strings.HasPrefix(string(name), "_pq_.") {
			unknown = append(unknown, string(name))
			continue
		}
		given = append(given, [2]string{string(name), string(value)})
	}
	if version != version3 || unknown != nil {
		// The documentation says "minor version"; PostgreSQL sends, and libpq
		// expects, the whole number.
		s.send(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: version3, UnrecognizedOptions: unknown})
	}
	if err := s.startSettings(given); err != nil {
		return err
	}
	if err := s.authenticate(); err != nil {
		return err
	}
	if err := s.enterConsole(); err != nil {
		return err
	}
	if err := s.srv.admit(s); err != nil {
		return err
	}
	s.send(&pgproto3.AuthenticationOk{})
	s.startParameters()
	s.send(&pgproto3.BackendKeyData{ProcessID: s.pid, SecretKey: binary.BigEndian.AppendUint32(nil, s.key)})
	s.ready()
	if s.flush() != nil {
		return errClosed
	}
	s.rearm = time.Time{}
	return s.conn.SetDeadline(time.Time{})
}

// startSettings takes the start-up parameters as the session's settings.
func (s *session) startSettings(given [][2]string) error {
	s.settings.start = make(map[string]string)
	if s.srv.zone != "" {
		s.settings.start["timezone"] = s.srv.zone
	}
	keep := func(name, value string) error {
		value, err := s.settings.check(name, value)
		if err == nil {
			s.settings.start[name] = value
		}
		return err
	}
	for _, g := range given {
		name, value := strings.ToLower(g[0]), g[1]
		var err error
		switch name {
		case "user":
			s.user = value
		case "database":
			s.database = value
		case "replication":
			if on, ok := parseBool(value); !ok || on {
				err = fault.New(fault.FeatureNotSupported, "replication connections are not taken").WithHint("%s", insertOnly)
			}
		case "options":
			var options [][2]string
			if options, err = startOptions(value); err == nil {
				for _, o := range options {
					if err = keep(o[0], o[1]); err != nil {
						break
					}
				}
			}
		default:
			err = keep(name, value)
		}
		if err != nil {
			return err
		}
	}
	if s.user == "" {
		return fault.New("28000", "no PostgreSQL user name specified in startup packet")
	}
	if s.database == "" {
		s.database = s.user
	}
	s.settings.start["session_authorization"] = s.user
	s.settings.set = make(map[string]string, len(s.settings.start))
	for n, v := range s.settings.start {
		s.settings.set[n] = v
	}
	s.settings.refresh()
	return nil
}
