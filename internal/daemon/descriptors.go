package daemon

import (
	"math"
	"syscall"

	"holdfast/internal/config"
	"holdfast/internal/fault"
)

// Descriptors that are kept back, so that a crowd of clients cannot take from
// the journal what it needs to roll a segment, from a sink what it needs to
// commit, or from who looks after the server the way in.
const (
	ownFiles    = 24 // the log, the lock, the catalogue, the doors, the runtime's own
	streamFiles = 16 // directory, active, reserved and retired segments, MANIFEST, a reader for each sink
	sinkFiles   = 8  // a database with its log and its locks
	sourceFiles = 72 // files that are followed, and how the system tells of them
	adminFiles  = 2  // of one connection: itself, and a segment that it reads
	clientFiles = 2  // of one connection: itself, and the file of a large transaction
)

// A share is how many connections of each kind the descriptors suffice for.
type share struct{ clients, starting, admins int }

// shareOut divides limit descriptors. It is an error where they do not suffice
// for the work behind the doors and a handful of clients.
func shareOut(limit int, c *config.Config) (share, error) {
	own := ownFiles + streamFiles*len(c.Streams) + sinkFiles*len(c.Sinks) + sourceFiles*len(c.Sources)
	for _, one := range c.Sources {
		own += one.MaxConnections
	}
	least := own + 16
	if limit < least {
		return share{}, fault.New(fault.TooManyConnections, "the process may open %d files, and needs at least %d", limit, least).
			WithHint("raise the limit: ulimit -n, or LimitNOFILE= of the service")
	}
	spare := limit - own
	s := share{starting: min(c.Limits.Starting, spare/8), admins: min(maxAdmins, spare/8)}
	s.clients = min(c.MaxConnections, (spare-s.starting-adminFiles*s.admins)/clientFiles)
	return s, nil
}

// descriptors returns how many files the process may have open.
func descriptors() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || uint64(l.Cur) > math.MaxInt32 {
		return math.MaxInt32 // whoever cannot be asked sets no limit
	}
	return int(l.Cur)
}

// share divides the descriptors of the process, and says where they are fewer
// than the configuration has connections.
func (s *server) share(c *config.Config) (share, error) {
	limit := descriptors()
	out, err := shareOut(limit, c)
	if err == nil && out.clients < c.MaxConnections {
		s.log.Warn("fewer connections than max_connections: the process may not open more files", "files", limit,
			"connections", out.clients, "max_connections", c.MaxConnections)
	}
	return out, err
}
