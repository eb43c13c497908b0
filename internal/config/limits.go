package config

import (
	"fmt"
	"time"

	"holdfast/internal/gate"
)

// Limits bound what clients can take from each other.
type Limits struct {
	Login              Duration `yaml:"login" doc:"How long a client may take to log in, TLS included, or to send the head of an HTTP request."`
	Starting           int      `yaml:"starting" doc:"Connections that have not logged in, at the same time, all doors together."`
	StartingPerAddress int      `yaml:"starting_per_address" doc:"The same, of one address (an IPv6 one counts as its /64)."`
	PerAddress         int      `yaml:"per_address" doc:"Connections that have logged in, of one address; 0: as many as max_connections."`
	PerUser            int      `yaml:"per_user" doc:"Connections that have logged in, of one user or token; 0: as many as max_connections."`
	Stalled            Duration `yaml:"stalled" doc:"How long a client may take for a message that it has begun, or for taking an answer; a second more for each 64 KiB of it."`
	Memory             Size     `yaml:"memory" doc:"What all PostgreSQL sessions together may hold in messages above 64 KiB."`
}

const (
	mostLogin   = Duration(10 * time.Second) // what hostile clients are given, whoever is asked
	leastMemory = Size(1 << 20)
)

func defaultLimits() Limits {
	return Limits{Login: mostLogin, Starting: 256, StartingPerAddress: 128, Stalled: Duration(time.Minute), Memory: 128 << 20}
}

// Gate returns the bounds on connections, where as many can be open.
func (l Limits) Gate(open, starting int) gate.Limits {
	return gate.Limits{
		Open: open, PerAddress: min(l.PerAddress, open), PerUser: min(l.PerUser, open),
		Waiting: starting, WaitingPerAddress: min(l.StartingPerAddress, starting),
	}
}

func (c *Config) judgeLimits(add report) {
	l := c.Limits
	for _, n := range []struct {
		key       string
		is, least int
	}{{"starting", l.Starting, 1}, {"starting_per_address", l.StartingPerAddress, 1}, {"per_address", l.PerAddress, 0}, {"per_user", l.PerUser, 0}} {
		if n.is < n.least || n.is > maxConnections {
			add("limits."+n.key, fmt.Sprintf("from %d to %d", n.least, maxConnections), "%s %q is out of range", n.key, fmt.Sprint(n.is))
		}
	}
	if least := Duration(100 * time.Millisecond); l.Login < least || l.Login > mostLogin {
		add("limits.login", fmt.Sprintf("from %s to %s", least, mostLogin), "login %q is out of range", l.Login.String())
	}
	if l.Stalled < Duration(time.Second) {
		add("limits.stalled", "at least 1s", "stalled %q is out of range", l.Stalled.String())
	}
	if l.Memory < leastMemory {
		add("limits.memory", "at least 1 MiB", "memory %q is out of range", l.Memory.String())
	}
}
