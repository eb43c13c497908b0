package config

import (
	"net/netip"
	"slices"
	"strings"

	"holdfast/sink"
)

// Endpoint is where a syslog source listens: udp:, tcp: or tls:, and an address.
type Endpoint string

var endpointKinds = []string{"udp", "tcp", "tls"}

func (e *Endpoint) scan(text string) error {
	kind, address, ok := strings.Cut(text, ":")
	if !ok || !slices.Contains(endpointKinds, kind) {
		return wrong(`write it like "udp:127.0.0.1:5514", "tcp:127.0.0.1:5514" or "tls:0.0.0.0:6514"`, "%q does not say how syslog comes in, and where", text)
	}
	var a Address
	if err := a.scan(address); err != nil {
		return err
	}
	*e = Endpoint(text)
	return nil
}

func (*Endpoint) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": "^(udp|tcp|tls):.*:[0-9]+$"}
}

// Kind returns udp, tcp or tls, and Address the rest.
func (e Endpoint) Kind() string {
	kind, _, _ := strings.Cut(string(e), ":")
	return kind
}

// Address returns where e listens, as host:port.
func (e Endpoint) Address() Address {
	_, address, _ := strings.Cut(string(e), ":")
	return Address(address)
}

// Network is a range of addresses, like 10.0.0.0/8, or one address.
type Network string

func (n *Network) scan(text string) error {
	if _, err := netip.ParsePrefix(text); err != nil {
		if _, err := netip.ParseAddr(text); err != nil {
			return wrong(`write it like "10.0.0.0/8" or "192.0.2.7"`, "%q is no network", text)
		}
	}
	*n = Network(text)
	return nil
}

func (*Network) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": "^[0-9a-fA-F.:]+(/[0-9]+)?$"}
}

// Prefix returns n as a range.
func (n Network) Prefix() netip.Prefix {
	if p, err := netip.ParsePrefix(string(n)); err == nil {
		return p.Masked()
	}
	a, err := netip.ParseAddr(string(n))
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

const (
	defaultSyslogTable = "syslog"
	defaultMaxLine     = Size(64 << 10)
	mostMaxLine        = Size(1 << 20)
	defaultSyslogConns = 64
)

func settleSyslog(s *Source) {
	if s.Table == "" {
		s.Table = defaultSyslogTable
	}
	if s.MaxLine == 0 {
		s.MaxLine = defaultMaxLine
	}
	if s.MaxConnections == 0 {
		s.MaxConnections = defaultSyslogConns
	}
	s.Poll = 0
}

// judgeSyslog judges a source that listens for syslog.
func (c *Config) judgeSyslog(add report, key, name string) {
	s := c.Sources[name]
	if len(s.Listen) == 0 {
		add(key, `add "listen: [udp:127.0.0.1:5514, tcp:127.0.0.1:5514]"`, "source %q listens nowhere", name)
	}
	seen := map[Endpoint]bool{}
	for _, e := range s.Listen {
		if seen[e] {
			add(key+".listen", "name each once", "%q is there twice", string(e))
		}
		seen[e] = true
		if e.Kind() == "tls" && !c.TLS.On() {
			add(key+".listen", `add "tls: {cert: FILE, key: FILE}" to the configuration`, "%q needs a certificate", string(e))
		}
		named := e.Kind() == "tls" && c.TLS.ClientCA != ""
		if !e.Address().loopback() && len(s.Allow) == 0 && !named {
			add(key+".listen", `add "allow: [10.0.0.0/8]", or for tls a client_ca, or listen on 127.0.0.1`,
				"%q can be reached from outside, where nobody may come in unknown", string(e))
		}
	}
	if s.MaxLine < 1<<10 || s.MaxLine > mostMaxLine {
		add(key+".max_line", "from 1 KB to 1 MB", "a longest message of %d bytes", int64(s.MaxLine))
	}
	if s.MaxConnections < 1 || s.MaxConnections > 10_000 {
		add(key+".max_connections", "from 1 to 10000", "%d connections", s.MaxConnections)
	}
}

// SyslogTables returns the tables that syslog sources write to and that nobody
// has declared, with columns that the caller knows.
func (c *Config) SyslogTables(columns []sink.Column) (out []sink.Table, err error) {
	known, err := c.Declared()
	if err != nil {
		return nil, err
	}
	for _, name := range c.SourceNames() {
		s := c.Sources[name]
		same := func(t sink.Table) bool { return t.Name == string(s.Table) }
		if s.Type == Syslog && !slices.ContainsFunc(known, same) && !slices.ContainsFunc(out, same) {
			out = append(out, sink.Table{Name: string(s.Table), Columns: columns})
		}
	}
	return out, nil
}

// Networks returns the ranges that may send.
func (s *Source) Networks() (all []netip.Prefix) {
	for _, n := range s.Allow {
		all = append(all, n.Prefix())
	}
	return all
}
