package config

// SecretFiles returns the files with secrets that c names, by the key that names
// each.
func (c *Config) SecretFiles() map[string]string {
	all := map[string]string{}
	put := func(key, file string) {
		if file != "" {
			all[key] = file
		}
	}
	for name, u := range c.Users {
		put("users."+name+".password_file", u.PasswordFile)
	}
	for name, s := range c.Sinks {
		for key, file := range s.secrets() {
			put("sinks."+name+"."+key, file)
		}
	}
	for name, b := range c.Buckets {
		put("buckets."+name+".keys_file", b.KeysFile)
	}
	for name, f := range c.Families {
		put("families."+name+".url_file", f.URLFile)
	}
	return all
}
