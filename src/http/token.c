/*
 * token.c
 *		The bearer token of the metrics endpoint.
 *
 * The file is read at the start and at every reload of the configuration.  One
 * that cannot be used lets nobody in, and the log says why: to lock everybody
 * out is noticed, to let everybody in is not.
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

#include "http/settings.h"
#include "http/token.h"

#define MAX_TOKEN	1024

static char token[MAX_TOKEN + 1];
static bool needed = true;

/* Read the file into token; what is wrong with it, or NULL. */
static const char *
read_token(const char *path)
{
	struct stat st;
	char		buf[MAX_TOKEN + 3];
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK);
	const char *error = NULL;
	int			length = 0;

	if (fd < 0)
		return psprintf("%m");
	if (fstat(fd, &st) != 0 || (length = read(fd, buf, sizeof(buf))) < 0)
		error = psprintf("%m");
	else if (!S_ISREG(st.st_mode))
		error = "it is no file";
	else if ((st.st_uid == geteuid() && (st.st_mode & (S_IRWXG | S_IRWXO))) || (st.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)))
		error = "others can read or write it; permissions should be u=rw (0600), or u=rw,g=r (0640) if it belongs to another user";
	CloseTransientFile(fd);
	if (error != NULL)
		return error;

	while (length > 0 && isspace((unsigned char) buf[length - 1]))
		length--;
	if (length == 0)
		return "it is empty";
	if (length > MAX_TOKEN)
		return psprintf("the token is longer than %d bytes", MAX_TOKEN);
	for (int i = 0; i < length; i++)
		if (buf[i] <= ' ' || buf[i] > '~')
			return "the token has characters other than printable ASCII";
	memcpy(token, buf, length);
	token[length] = '\0';
	return NULL;
}

/* Learn the token anew. */
void
es_http_load_token(void)
{
	const char *error;

	memset(token, 0, sizeof(token));
	needed = es_http_token_file[0] != '\0';
	if (!needed)
		return;
	error = read_token(es_http_token_file);
	if (error != NULL)
		ereport(LOG,
				(errmsg("metrics endpoint cannot use the token file \"%s\": %s", es_http_token_file, error),
				 errdetail("Nobody gets metrics until that is mended and the configuration reloaded.")));
}

/* Does the header Authorization, NULL if there is none, show the token? */
bool
es_http_token_fits(const char *authorization)
{
	static const char scheme[] = "Bearer ";
	volatile unsigned char difference = 0;
	size_t		length = strlen(token);

	if (!needed)
		return true;
	if (length == 0 || authorization == NULL || pg_strncasecmp(authorization, scheme, strlen(scheme)) != 0)
		return false;
	authorization += strlen(scheme);
	authorization += strspn(authorization, " ");

	/* how long it takes tells the length at most */
	if (strlen(authorization) != length)
		return false;
	for (size_t i = 0; i < length; i++)
		difference |= (unsigned char) (token[i] ^ authorization[i]);
	return difference == 0;
}
