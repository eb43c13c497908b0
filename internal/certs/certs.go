// Package certs keeps the certificate that the doors show, and takes a new one
// over while they are open: certificates are replaced every few weeks, and no
// connection must be lost for it.
package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/fault"
)

// Files name what is kept, in PEM.
type Files struct {
	Cert     string // the certificate and those that sign it
	Key      string
	ClientCA string // certificates that sign clients'; "": clients' are not asked for
}

// Material is one certificate with what belongs to it. It does not change.
type Material struct {
	pair    tls.Certificate
	clients *x509.CertPool
	binding []byte
}

// Keeper holds the Material in force. It is safe for concurrent use.
type Keeper struct {
	files   Files
	trouble func(error)
	current atomic.Pointer[Material]
	looked  atomic.Int64 // when the files were last looked at, in nanoseconds

	mu   sync.Mutex
	seen []stamp // guarded by mu; of the files when they were last read
}

// stamp tells one content of a file from the next.
type stamp struct {
	size    int64
	changed time.Time
}

// pause is the time between two looks at the files: each costs three system
// calls, and a handshake a thousand times as much.
const pause = time.Second

// maxFile bounds one of the files, in bytes. Bundles of all the world's
// authorities are a quarter of it.
const maxFile = 1 << 20

// Open reads the files. Later troubles with them go to trouble, which may be
// nil; the Material that was there stays.
func Open(f Files, trouble func(error)) (*Keeper, error) {
	k := &Keeper{files: f, trouble: trouble}
	if k.trouble == nil {
		k.trouble = func(error) {}
	}
	return k, k.Reload()
}

// Reload reads the files again. On an error nothing changes.
func (k *Keeper) Reload() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reloadLocked()
}

func (k *Keeper) reloadLocked() error {
	k.seen = k.stamps() // before they are read, so that what changes meanwhile is read again
	k.looked.Store(time.Now().UnixNano())
	m, err := Load(k.files)
	if err == nil {
		k.current.Store(m)
	}
	return err
}

// Current returns the Material in force, which it reads again where the files
// have changed.
func (k *Keeper) Current() *Material {
	now := time.Now().UnixNano()
	if last := k.looked.Load(); now-last > int64(pause) && k.looked.CompareAndSwap(last, now) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !slices.Equal(k.stamps(), k.seen) {
			if err := k.reloadLocked(); err != nil {
				k.trouble(err)
			}
		}
	}
	return k.current.Load()
}

func (k *Keeper) stamps() []stamp {
	var all []stamp
	for _, file := range []string{k.files.Cert, k.files.Key, k.files.ClientCA} {
		if info, err := os.Stat(file); err == nil {
			all = append(all, stamp{info.Size(), info.ModTime()})
		} else {
			all = append(all, stamp{})
		}
	}
	return all
}

// Load reads the files once, and refuses what no client could use.
func Load(f Files) (*Material, error) {
	bad := func(file, hint string, err error) error {
		return fault.New(fault.InvalidParameterValue, "file %q is not usable for TLS", file).Because(err).WithHint("%s", hint)
	}
	cert, err := read(f.Cert)
	if err != nil {
		return nil, bad(f.Cert, "name the certificate, in PEM", err)
	}
	if info, err := os.Stat(f.Key); err == nil && info.Mode().Perm()&0o007 != 0 {
		return nil, bad(f.Key, "chmod o= it", fmt.Errorf("everybody may read the key (mode %04o)", info.Mode().Perm()))
	}
	key, err := read(f.Key)
	if err != nil {
		return nil, bad(f.Key, "name the certificate's key, in PEM", err)
	}
	m := new(Material)
	if m.pair, err = tls.X509KeyPair(cert, key); err != nil {
		return nil, bad(f.Cert, "certificate and key must belong together, and hold no password", err)
	}
	if m.pair.Leaf == nil {
		if m.pair.Leaf, err = x509.ParseCertificate(m.pair.Certificate[0]); err != nil {
			return nil, bad(f.Cert, "", err)
		}
	}
	m.binding = endPoint(m.pair.Leaf)
	if f.ClientCA != "" {
		ca, err := read(f.ClientCA)
		if err != nil {
			return nil, bad(f.ClientCA, "name the certificates that sign clients', in PEM", err)
		}
		if m.clients = x509.NewCertPool(); !m.clients.AppendCertsFromPEM(ca) {
			return nil, bad(f.ClientCA, "name the certificates that sign clients', in PEM", fmt.Errorf("it holds no certificate"))
		}
	}
	return m, nil
}

func read(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxFile:
		return nil, fmt.Errorf("not a file of up to %d bytes", maxFile)
	}
	text, err := os.ReadFile(file)
	return bytes.TrimSpace(text), err
}

// Expires returns when the certificate does.
func (m *Material) Expires() time.Time { return m.pair.Leaf.NotAfter }

// Binding is the channel binding tls-server-end-point of RFC 5929; nil for
// certificates whose signature has no hash of its own, for which clients have
// none either.
func (m *Material) Binding() []byte { return m.binding }

// Names tells whether the certificate is one for host.
func (m *Material) Names(host string) bool { return m.pair.Leaf.VerifyHostname(host) == nil }

// Config returns how connections are served that speak one of protocols. Where
// clients' certificates are asked for, they may come without; one that is given
// must be valid.
func (m *Material) Config(protocols ...string) *tls.Config {
	c := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{m.pair},
		NextProtos:   protocols,
		// A ticket would let in whoever holds it after a certificate was revoked,
		// and connections here are long.
		SessionTicketsDisabled: true,
	}
	if m.clients != nil {
		c.ClientCAs, c.ClientAuth = m.clients, tls.VerifyClientCertIfGiven
	}
	return c
}

// CommonName returns the common name of the certificate that the client was
// verified by; "" without one.
func CommonName(s *tls.ConnectionState) string {
	if s == nil || len(s.VerifiedChains) == 0 || len(s.VerifiedChains[0]) == 0 {
		return ""
	}
	return s.VerifiedChains[0][0].Subject.CommonName
}

// endPoint hashes a certificate with the hash of its signature, or SHA-256 in
// place of those that are broken.
func endPoint(c *x509.Certificate) []byte {
	var h crypto.Hash
	switch c.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.SHA256WithRSA, x509.ECDSAWithSHA256:
		h = crypto.SHA256
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return nil
	}
	sum := h.New()
	sum.Write(c.Raw)
	return sum.Sum(nil)
}
