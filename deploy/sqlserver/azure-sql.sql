-- What a Holdfast cluster needs in a database of Azure SQL Database, where database.sql cannot run: the service makes the
-- database, its user need not exist outside of it, and the recovery model is the service's. For the server's administrator,
-- in the database, made empty by portal or `az sql db create`; may be repeated. Nobody of this project has run it there yet.
--
--     sqlcmd -S SERVER.database.windows.net -d holdfast -N -U ADMINISTRATOR -b -i azure-sql.sql -v PASSWORD="..."
--
-- With Microsoft Entra ID and no password, as an administrator of that kind (sqlcmd -G): put this in the place of the first
-- statement, and the same name into the ALTER ROLE:
--
--     CREATE USER [name-of-the-nodes-identity] FROM EXTERNAL PROVIDER WITH DEFAULT_SCHEMA = holdfast;
--
-- On Azure SQL Managed Instance: database.sql and roles.sql, as on a server.
--
-- A contained user: its password lies in this database and goes with it, to a copy of it in another region too. As a text, so
-- that the statement is a batch of its own; a password with an apostrophe would end that text.
IF USER_ID(N'holdfast') IS NULL
    EXEC (N'CREATE USER holdfast WITH PASSWORD = N''$(PASSWORD)'', DEFAULT_SCHEMA = holdfast');
GO
-- From here to the grant as in roles.sql, which says what it is for.
IF DATABASE_PRINCIPAL_ID(N'holdfast_node') IS NULL
    CREATE ROLE holdfast_node;
GO
ALTER ROLE holdfast_node ADD MEMBER holdfast;
GO
IF SCHEMA_ID(N'holdfast') IS NULL
    EXEC (N'CREATE SCHEMA holdfast AUTHORIZATION holdfast_node');
GO
GRANT CREATE TABLE TO holdfast_node;
GO
-- The options of a new database there are these already; one that was moved there may have others. Changing the first takes
-- the database for itself alone: whoever is connected is put out.
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = DB_NAME() AND is_read_committed_snapshot_on = 0)
    ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE;
GO
-- An acknowledgement follows a commit that is on disk. FORCED is refused by the nodes.
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = DB_NAME() AND delayed_durability <> 0)
    ALTER DATABASE CURRENT SET DELAYED_DURABILITY = DISABLED;
GO
-- Not needed, and of use: with these a takeover ends a session that hangs instead of waiting for it. They are rights on this
-- database, not on the server as elsewhere; newer documentation asks for VIEW DATABASE PERFORMANCE STATE, which the second
-- one contains:
--
--     GRANT KILL DATABASE CONNECTION TO holdfast_node;
--     GRANT VIEW DATABASE STATE TO holdfast_node;
