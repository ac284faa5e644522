package auth

// Files returns the files of c that hold a secret: those that c names and, as
// far as it can be read, those that its kubeconfig's user names.
func (c CredentialConfig) Files() []string {
	var files []string
	add := func(paths ...string) {
		for _, path := range paths {
			if path != "" {
				files = append(files, path)
			}
		}
	}
	add(c.TokenFile)
	if c.ClientCertificate != nil {
		add(c.ClientCertificate.KeyFile)
	}
	if c.Kubeconfig != nil {
		add(c.Kubeconfig.Path)
		if config, err := c.Kubeconfig.userConfig(); err == nil {
			add(config.BearerTokenFile, config.KeyFile)
		}
	}
	return files
}
