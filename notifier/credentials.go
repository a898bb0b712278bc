package notifier

// Credentials are what is kept of a user for logging in.
type Credentials struct {
	PasswordHash string // "": no password will do
	Roles        []string
	// Generation grows with a new password, a lost role, and when the user is
	// disabled. Tokens that were issued at another one count no more.
	Generation int64
	Disabled   bool
}
