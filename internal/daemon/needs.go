package daemon

import "holdfast/internal/config"

// Descriptors returns how many open files a server with the configuration needs
// to start, and how many for all of its max_connections.
func Descriptors(c *config.Config) (least, all int) {
	enough := func(n, clients int) bool {
		s, err := shareOut(n, c)
		return err == nil && s.clients >= clients
	}
	for least = 1; !enough(least, 0); least++ {
	}
	for all = least; !enough(all, c.MaxConnections); all++ {
	}
	return least, all
}
